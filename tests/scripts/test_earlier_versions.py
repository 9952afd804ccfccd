"""Runs that earlier versions wrote are evaluated and predict."""

import json
import shutil
from pathlib import Path

import yaml

from tlkeras.config.old_names import NEW_NAMES


def test_a_run_of_an_earlier_version(call, trained, made):
    """Its labels.json has a form of data, its config.yaml the old names of options."""
    shutil.copytree(trained.path, "old")
    labels = json.loads(Path("old/labels.json").read_text())
    del labels["modality"]
    Path("old/labels.json").write_text(json.dumps(labels | {"form": "pictures"}))
    old_names = {new: old for old, new in NEW_NAMES.items()}
    config = yaml.safe_load(Path("old/config.yaml").read_text())
    config = {old_names.get(name, name): value for name, value in config.items()}
    assert {"frozen_rate", "validation_share", "colour", "memory"} <= set(config)
    Path("old/config.yaml").write_text(yaml.safe_dump(config))
    logged = json.loads((trained.path / "metrics.json").read_text())["test"]
    metrics = json.loads(call("evaluate.py", "old", "--json").out)["test"]
    assert {name: metrics[name] for name in ("count", "correct")} == {"count": 6, "correct": logged["correct"]}
    predictions = json.loads(call("predict.py", "old", made({"red": 2}), "--json").out)
    assert [len(entry["predictions"]) for entry in predictions] == [3, 3]
