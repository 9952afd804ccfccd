"""A run can be resumed only where nothing that it depends on has changed."""

import dataclasses

import numpy as np
import pytest

from tlkeras.config.train import TrainConfig
from tlkeras.data.example import Example
from tlkeras.data.prepare import PreparedData
from tlkeras.errors import UserError
from tlkeras.modalities.image import ImageModality
from tlkeras.run import fingerprint
from tlkeras.run.fingerprint import check_fingerprint

CONFIG = TrainConfig(data="pets", run_dir="a", seed=1)


def data(**changes) -> PreparedData:
    examples = [Example(label, label, content=b"") for label in ("cat", "dog")]
    rows = {"train": np.array([0]), "validation": np.array([1])}
    prepared = PreparedData(
        "single_label", ["cat", "dog"], ImageModality(4), np.zeros((2, 4, 4, 3), "uint8"), examples, rows, [], []
    )
    return dataclasses.replace(prepared, **changes)


def test_what_may_change(tmp_path):
    check_fingerprint(tmp_path / "kept", CONFIG, data())
    other = dataclasses.replace(CONFIG, run_dir="b", overwrite=True, memory_gb=1.0, cache_gb=3.0, resume=True)
    check_fingerprint(tmp_path / "kept", other, data())


def test_what_may_not_change(tmp_path, monkeypatch):
    check_fingerprint(tmp_path, CONFIG, data())
    pixels, examples = data().inputs.copy(), data().examples
    pixels[1, 2, 3, 0] = 1
    renamed = [examples[0], dataclasses.replace(examples[1], label="cat")]
    for changed in ({"inputs": pixels}, {"examples": renamed}, {"splits": dict(reversed(data().splits.items()))}):
        with pytest.raises(UserError, match="started with other examples or labels: resuming"):
            check_fingerprint(tmp_path, CONFIG, data(**changed))
    with pytest.raises(UserError, match="started with --frozen-epochs 10, --seed 1: resuming"):
        check_fingerprint(tmp_path, dataclasses.replace(CONFIG, seed=2, frozen_epochs=3), data())
    with pytest.raises(UserError, match="started with --devices auto: resuming"):
        check_fingerprint(tmp_path, dataclasses.replace(CONFIG, devices=2), data())
    monkeypatch.setattr(fingerprint, "available_cores", lambda: 1000)
    with pytest.raises(UserError, match=r"started with \d+ cores"):
        check_fingerprint(tmp_path, CONFIG, data())
    monkeypatch.undo()
    monkeypatch.setattr(fingerprint, "versions", lambda: VERSIONS)
    with pytest.raises(UserError, match=r"started with keras 3\."):
        check_fingerprint(tmp_path, CONFIG, data())


VERSIONS = fingerprint.versions() | {"keras": "4.0"}


def test_a_damaged_fingerprint_is_a_sentence(tmp_path):
    (tmp_path / "identity.json").write_text("{")
    with pytest.raises(UserError, match="a damaged record of its options"):
        check_fingerprint(tmp_path, CONFIG, data())
