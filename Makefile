# `make` lists the targets. They use the Python of the active virtual environment.
PYTHON ?= python
JOBS ?= 2  # processes of the tests; each loads TensorFlow
ARGS ?=    # further options, as in: make train ARGS="--data photos"

.DEFAULT_GOAL := help
.PHONY: help install test test-all lint format train

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install:  ## install the package, editable, with all that tests and checks need
	$(PYTHON) -m pip install -r requirements-dev.txt

test:  ## run the fast tests
	$(PYTHON) -m pytest -n $(JOBS) --dist loadfile $(ARGS)

test-all:  ## run all tests, slow ones too
	$(PYTHON) -m pytest -m "" -n $(JOBS) --dist loadfile --no-loadscope-reorder -rs $(ARGS)

lint:  ## check style, format and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

format:  ## format the code and fix what can be fixed
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

train:  ## train a model, by default on the digits
	$(PYTHON) scripts/train.py $(ARGS)
