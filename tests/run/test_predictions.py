"""The outputs that a run keeps are those that its metrics were computed from."""

import json

import numpy as np
import pytest

import tlkeras
from tlkeras.run.predictions import FILE, load_predictions


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_backbone):
    rng = np.random.default_rng(0)
    labels = np.tile(["dark", "light"], 20)
    images = rng.integers(0, 90, (40, 16, 16, 3)) + np.where(labels == "light", 150, 0)[:, None, None, None]
    with tiny_backbone() as name:
        yield tlkeras.train(
            data=(images.astype("uint8"), labels), backbone=name, weights="none", epochs=(1, 0), cache_gb=0,
            run_dir=tmp_path_factory.mktemp("predictions") / "run",
        )  # fmt: skip


def test_predictions_give_the_metrics_of_the_run(run):
    kept = load_predictions(run)
    metrics = json.loads((run / "metrics.json").read_text())
    assert len(kept) == 40 and set(kept.splits) == {"train", "validation", "test"}
    for split in ("train", "validation", "test"):
        part = kept.of(split)
        again = tlkeras.compute_metrics(part.outputs, part.targets, "single_label")
        assert again["accuracy"] == metrics[split]["accuracy"] and again["loss"] == metrics[split]["loss"]


def test_a_run_without_predictions_is_a_sentence(tmp_path):
    with pytest.raises(tlkeras.UserError, match="earlier version"):
        load_predictions(tmp_path)
    (tmp_path / FILE).write_bytes(b"PK no archive")
    with pytest.raises(tlkeras.UserError, match="damaged"):
        load_predictions(tmp_path)
