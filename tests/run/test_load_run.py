"""A run's folder may be untrusted: its files are checked before anything is built from them."""

import json
import zipfile
from pathlib import Path

import pytest
import yaml

from tlkeras.errors import UserError
from tlkeras.modalities.audio import AudioModality
from tlkeras.modalities.image import ImageModality
from tlkeras.modalities.text import TextModality
from tlkeras.run import load_run as module
from tlkeras.run.load_run import load_run

LABELS = {"task": "single_label", "classes": ["a", "b"]}
CONFIG = {"image_size": 32, "batch_size": 8, "max_unreadable": 0.1, "data": "digits"}


def write_run(folder: Path, labels: object = None, config: object = None) -> str:
    (folder / "labels.json").write_text(json.dumps(LABELS if labels is None else labels))
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG if config is None else config))
    return str(folder)


def test_without_a_model_it_is_no_run(tmp_path):
    with pytest.raises(UserError, match="There is no model file"):
        load_run(write_run(tmp_path))


@pytest.mark.parametrize(
    "changes",
    [{"labels": LABELS | {"task": "guess"}}, {"labels": LABELS | {"classes": 3}}, {"labels": LABELS | {"classes": [1]}},
     {"labels": []}, {"config": CONFIG | {"image_size": 10**9}}, {"config": CONFIG | {"image_size": "32"}},
     {"config": CONFIG | {"batch_size": 0}}, {"config": CONFIG | {"data": None}}, {"config": {}}],
)  # fmt: skip
def test_labels_and_options_of_other_kinds_are_refused(tmp_path, changes):
    with pytest.raises(UserError, match="is not a complete run folder"):
        load_run(write_run(tmp_path, **changes))


def test_files_that_nest_without_end_or_are_huge_are_refused(tmp_path, monkeypatch):
    write_run(tmp_path)
    (tmp_path / "labels.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="is not a complete run folder"):
        load_run(str(tmp_path))
    monkeypatch.setattr(module, "MAX_TEXT_BYTES", 10)
    with pytest.raises(UserError, match="is not a complete run folder"):
        load_run(write_run(tmp_path))


@pytest.mark.parametrize(
    ("labels", "modality"),
    [({}, ImageModality(32)), ({"form": "pictures"}, ImageModality(32)), ({"form": "texts"}, TextModality()),
     ({"form": "text"}, TextModality()), ({"form": "sounds"}, AudioModality(8000, 16000)),
     ({"modality": "audio"}, AudioModality(8000, 16000))],
)  # fmt: skip
def test_runs_of_earlier_versions_are_read(tmp_path, labels, modality):
    old = {"frozen_rate": 1e-3, "stage_decay": 0.8, "hidden": [64], "colour": 0.2, "memory": None}
    audio = {"sample_rate": 16000, "seconds": 0.5}
    folder = write_run(tmp_path, labels=LABELS | labels, config=CONFIG | audio | old)
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        for name in ("config.json", "model.weights.h5"):
            archive.writestr(name, "{}")
    run = load_run(folder)
    assert run.modality == modality and run.classes == ["a", "b"]
    new = {"head_learning_rate": 1e-3, "layer_decay": 0.8, "hidden_units": [64], "color_jitter": 0.2, "memory_gb": None}
    assert run.config == CONFIG | audio | new
