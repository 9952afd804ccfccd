"""The service keeps what drift.py needs, and nothing of the images."""

import dataclasses

import numpy as np
import pytest
from color_service import CLASSES, ColorModel, encoded

from tlkeras.errors import UserError
from tlkeras.evaluation.reference import fit_reference
from tlkeras.run.usage_log import UsageLog, read_usage
from tlkeras.serving import usage


@pytest.fixture
def predictor(tmp_path):
    """Return a model with features, whose run has a reference."""
    made = ColorModel().predictor(tmp_path)
    rng = np.random.default_rng(0)
    features, outputs = rng.normal(size=(60, 5)), rng.dirichlet([1] * len(CLASSES), 60)
    fit_reference(features, features, outputs, np.zeros(60, bool), "single_label").save(tmp_path)

    def with_features(images):
        return made.outputs(images)[0], np.ones((len(images), 5), "float32")

    return dataclasses.replace(made, outputs=with_features)


def wait_for(path, log, count):
    """Return what is kept once so many images are in the log."""
    for _ in range(100):
        if path.exists() and (kept := read_usage(path, log.run_hash, log.reference)).total().images == count:
            return kept
        usage.threading.Event().wait(0.05)
    raise AssertionError("they were never written")


def test_it_keeps_counts_while_it_runs(start, predictor, tmp_path, monkeypatch):
    monkeypatch.setattr(usage, "PERIOD", 0.05)
    path = tmp_path / "usage.npz"
    client = start(predictor, log=str(path))
    client.post("/predict", ("a.png", encoded("red")), ("b.png", encoded("red")), ("c.png", encoded("blue")))
    kept = wait_for(path, UsageLog(path, predictor.run), 3)
    assert kept.total().classes.tolist() == [2, 0, 1]


def test_an_image_that_is_explained_too_counts_once(start, predictor, tmp_path, monkeypatch):
    monkeypatch.setattr("tlkeras.serving.explain.Explainer.png", lambda *_: b"a map")
    path = tmp_path / "usage.npz"
    client = start(predictor, log=str(path))
    client.post("/predict", ("a.png", encoded("red")))
    answers = [client.post(f"/explain{query}", ("a.png", encoded("red")), name="file") for query in ("", "?label=red")]
    assert [answer.body for answer in answers] == [b"a map"] * 2
    assert client.metric("tlkeras_batch_size_sum") == 1


def test_a_log_that_cannot_be_written_stops_nothing(predictor, tmp_path, monkeypatch, caplog):
    def full(self):
        raise OSError("No space left on device")

    with usage.usage_log(tmp_path / "usage.npz", predictor.run) as log:
        log.add(np.eye(3, dtype="float32"), np.ones((3, 5)), [False] * 3)
        monkeypatch.setattr(UsageLog, "save", full)
    assert "cannot be written now: No space left on device" in caplog.text


def test_a_run_without_reference_is_refused_at_once(tmp_path):
    run = ColorModel().predictor(tmp_path).run
    with pytest.raises(UserError), usage.usage_log(tmp_path / "usage.npz", run):
        pass
