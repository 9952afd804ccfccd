"""What a training sends to TensorBoard and MLflow is what its folder says."""

import csv
import importlib.util
import json
import socket
import time

import numpy as np
import pytest

import tlkeras
from tlkeras.run import tracking


@pytest.fixture
def train(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    labels = np.tile(["dark", "light"], 20)
    images = np.random.default_rng(0).integers(0, 90, (40, 16, 16, 3)).astype("uint8")
    images[labels == "light"] += 150

    def run(**changes):
        settings = {"weights": "none", "epochs": (2, 1), "linear_probe": "never", "cache_gb": 0, "run_dir": "run"}
        return tlkeras.train(data=(images, labels), backbone=tiny, **settings | changes)

    return run


def train_in_two_parts(train, monkeypatch, tracker):
    """Train, stop as Ctrl-C does once the second epoch was sent, and resume."""
    real = tracking.EpochTracker.on_epoch_end

    def stop(self, epoch, logs=None):
        real(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(tracking.EpochTracker, "on_epoch_end", stop)
        train(track=tracker)
    return train(track=tracker, resume=True)


def history(run):
    with (run / "history.csv").open(newline="") as file:
        return {int(row["epoch"]): float(row["val_loss"]) for row in csv.DictReader(file)}


def test_tensorboard_has_the_epochs_curves_and_options_of_a_resumed_run(train, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    run = train_in_two_parts(train, monkeypatch, "tensorboard")
    events = EventAccumulator(str(run / "tensorboard")).Reload()
    found = {name: {event.step: make_ndarray(event.tensor_proto) for event in events.Tensors(name)}
             for name in events.Tags()["tensors"]}  # fmt: skip
    assert {step: float(value) for step, value in found["val_loss"].items()} == pytest.approx(history(run))
    assert set(found["learning_rate"]) == {1, 2, 3}
    metrics = json.loads((run / "metrics.json").read_text())
    assert float(found["test/accuracy"][3]) == pytest.approx(metrics["test"]["accuracy"])
    assert b"frozen_epochs | 2" in found["options"][0].item() and found["curves"][0][2].startswith(b"\x89PNG")


def test_mlflow_has_the_epochs_files_and_options_of_a_resumed_run(train, monkeypatch):
    from mlflow import MlflowClient

    run = train_in_two_parts(train, monkeypatch, "mlflow")
    client = MlflowClient("./mlruns")
    (tracked,) = client.search_runs([client.get_experiment_by_name("tlkeras").experiment_id])
    sent = {event.step: event.value for event in client.get_metric_history(tracked.info.run_id, "val_loss")}
    assert sent == pytest.approx(history(run))
    assert tracked.info.status == "FINISHED" and tracked.data.params["frozen_epochs"] == "2"
    assert {file.path for file in client.list_artifacts(tracked.info.run_id)} >= {"curves.png", "metrics.json"}


@pytest.mark.parametrize(("track", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow-skinny")])
def test_an_absent_package_is_a_sentence_before_anything_else(train, tmp_path, monkeypatch, track, package):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == track else real(name, *rest))
    with pytest.raises(tlkeras.UserError, match=f"--track {track} needs .* pip install {package}"):
        train(track=track)
    assert not list(tmp_path.glob("*run*"))


def test_a_server_that_does_not_answer_is_a_sentence_at_once(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://localhost:{free.getsockname()[1]}")
    start = time.monotonic()
    message = r"--track mlflow failed: .*refused.*\. Check MLFLOW_TRACKING_URI\."
    with pytest.raises(tlkeras.UserError, match=message):
        tracking.MLflow(tmp_path, {})
    assert time.monotonic() - start < 30


def test_a_tracker_that_fails_does_not_stop_the_training(caplog, tmp_path):
    class Failing:
        calls = 0

        def values(self, values, step):
            self.calls += 1
            raise ConnectionError("no server")

    failing = Failing()
    tracker = tracking.Guarded(failing)
    for step in range(3):
        tracker.values({"loss": 1.0}, step)
    tracker.finish(tmp_path)
    assert failing.calls == 1
    assert [record.getMessage() for record in caplog.records] == [
        "Note: tracking failed and is switched off: no server."
    ]
