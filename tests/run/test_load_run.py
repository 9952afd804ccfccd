"""A run's folder may be a stranger's: what is in it is looked at before anything is built from it."""

import json
from pathlib import Path

import pytest
import yaml

from tlkeras.errors import UserError
from tlkeras.run import opening
from tlkeras.run.load_run import load_run

LABELS = {"task": "single_label", "classes": ["a", "b"]}
CONFIG = {"image_size": 32, "batch_size": 8, "max_unreadable": 0.1, "data": "digits"}


def run(place: Path, labels: object = None, config: object = None) -> str:
    (place / "labels.json").write_text(json.dumps(LABELS if labels is None else labels))
    (place / "config.yaml").write_text(yaml.safe_dump(CONFIG if config is None else config))
    return str(place)


def test_without_a_model_it_is_no_run(tmp_path):
    with pytest.raises(UserError, match="There is no model file"):
        load_run(run(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [{"labels": LABELS | {"task": "guess"}}, {"labels": LABELS | {"classes": 3}}, {"labels": LABELS | {"classes": [1]}},
     {"labels": []}, {"config": CONFIG | {"image_size": 10**9}}, {"config": CONFIG | {"image_size": "32"}},
     {"config": CONFIG | {"batch_size": 0}}, {"config": CONFIG | {"data": None}}, {"config": {}}],
)  # fmt: skip
def test_labels_and_options_of_other_kinds_are_refused(tmp_path, changes):
    with pytest.raises(UserError, match="is not a whole run folder"):
        load_run(run(tmp_path, **changes))


def test_files_that_nest_without_end_or_are_huge_are_refused(tmp_path, monkeypatch):
    run(tmp_path)
    (tmp_path / "labels.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not a whole run folder"):
        load_run(str(tmp_path))
    monkeypatch.setattr(opening, "MAX_TEXT_BYTES", 10)
    with pytest.raises(UserError, match="is not a whole run folder"):
        load_run(run(tmp_path))
