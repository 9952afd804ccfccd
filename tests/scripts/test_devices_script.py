"""scripts/train.py and scripts/pretrain.py on two logical devices of the processor."""

import json

import pytest
import yaml

TWO = ("--devices", "2", "--batch-size", "9")


@pytest.fixture(autouse=True)
def two_devices(monkeypatch):
    monkeypatch.setenv("TLKERAS_CPU_DEVICES", "2")


@pytest.mark.slow
def test_a_run_on_two_devices(run_script, colors, tiny_options, tmp_path):
    """Its model is evaluated on one; the run is repeated by its own options."""
    answer = run_script("train.py", "--data", colors, *tiny_options, *TWO, "--run-dir", "run", cwd=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert "Devices: 2, each with at most 5 of the 9 examples of a batch." in answer.out
    run = tmp_path / "run"
    assert yaml.safe_load((run / "config.yaml").read_text())["devices"] == 2
    again = run_script("train.py", "--config", run / "config.yaml", "--run-dir", "again", cwd=tmp_path)
    assert again.code == 0, again.err
    assert (tmp_path / "again" / "history.csv").read_text() == (run / "history.csv").read_text()
    evaluated = run_script("evaluate.py", "run", "--json", cwd=tmp_path)
    now, then = json.loads(evaluated.out)["test"], json.loads((run / "metrics.json").read_text())["test"]
    assert now["count"] == then["count"] and now["brier"] == pytest.approx(then["brier"], rel=1e-4)


# [part: pretrain]
@pytest.mark.slow
def test_all_layers_on_two_devices(run_script, colors, tmp_path):
    words = ("--backbone", "MobileNet-0.25", "--image-size", "32", "--epochs", "1", "--run-dir", "run")
    answer = run_script("pretrain.py", "--data", colors, *words, *TWO, cwd=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert "Devices: 2" in answer.out and (tmp_path / "run" / "MobileNet-0.25.weights.h5").exists()


# [/part]
@pytest.mark.slow
def test_more_devices_than_there_are(run_script, colors, tiny_options, tmp_path):
    """It is said before anything is decoded, and nothing is left behind."""
    answer = run_script("train.py", "--data", colors, *tiny_options, "--devices", "3", "--run-dir", "a", cwd=tmp_path)
    assert answer.code == 2 and "--devices was 3, and TensorFlow has no GPUs here." in answer.err
    assert "Data:" not in answer.out and {path.name for path in tmp_path.iterdir()} <= {"keras"}
