"""scripts/train.py as a user runs it: what a run holds, that it repeats, and that it is complete or not there."""

import csv
import json
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
import yaml
from PIL import Image

FILES = {
    "model.keras",
    "labels.json",
    "config.yaml",
    "split.csv",
    "history.csv",
    "metrics.json",
    "findings.json",
    "predictions.npz",
    "thresholds.json",
    "curves.png",
    # [part: report]
    "MODEL_CARD.md",
    "report.html",
    # [/part]
    "log.txt",
    "unreadable.csv",
}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_the_folder_of_a_run(trained):
    assert {file.name for file in trained.path.iterdir() if file.is_file()} == FILES
    assert [entry.name for entry in trained.path.parent.iterdir()] == ["first"]
    assert json.loads((trained.path / "labels.json").read_text()) == {
        "task": "single_label",
        "classes": ["blue", "green", "red"],
        "modality": "image",
    }
    config = yaml.safe_load((trained.path / "config.yaml").read_text())
    assert config["image_size"] == 32 and config["unfreeze"] == "all" and config["run_dir"] == "runs/first"
    assert [row["phase"] for row in rows(trained.path / "history.csv")] == ["frozen", "finetune"]
    with Image.open(trained.path / "curves.png") as image:
        assert image.width > 800


def test_the_metrics_of_a_run(trained):
    metrics = json.loads((trained.path / "metrics.json").read_text())
    split = rows(trained.path / "split.csv")
    for name in ("train", "validation", "test"):
        assert metrics[name]["count"] == sum(row["split"] == name for row in split)
        assert 0 <= metrics[name]["accuracy"] <= 1 and metrics[name]["loss"] > 0
    assert len(split) == 36
    assert {"frozen", "finetune"} <= set(metrics["seconds"]) and metrics["cpu_count"] >= 1 and metrics["seed"] == 0
    assert {"tlkeras", "python", "tensorflow", "keras"} <= set(metrics["versions"])


def test_an_unreadable_file_is_named_and_skipped(trained):
    assert "Skipped, unreadable: red/broken.png (not a valid" in trained.answer.out
    assert [row["path"] for row in rows(trained.path / "unreadable.csv")] == ["red/broken.png"]
    assert "red/broken.png" not in {row["path"] for row in rows(trained.path / "split.csv")}


def test_what_the_terminal_says(trained):
    """Nothing of TensorFlow's, no Python warnings; the result with its count and the folder of the run."""
    assert trained.answer.err == ""
    assert re.search(r"^Test: +accuracy 0\.\d+ \(\d of 6 images; 95% CI ", trained.answer.out, re.MULTILINE)
    assert "random weights" in trained.answer.out
    run, evaluate, predict = trained.answer.out.splitlines()[-3:]
    assert run == "Run: runs/first"
    assert re.fullmatch(r"Next: python .*scripts/evaluate\.py runs/first", evaluate)
    assert re.fullmatch(r"      python .*scripts/predict\.py runs/first PATH\.\.\.", predict)
    assert "\r" not in trained.answer.out and "\b" not in trained.answer.out
    log = (trained.path / "log.txt").read_text()
    assert "epoch 1:" in log and "Test:" in log


def test_config_of_a_run_repeats_it_and_overwrite_replaces_a_run(trained, call, tmp_path):
    """Two runs with one seed give the same history to the last bit; nothing is left of the folder that was there."""
    shutil.copytree(trained.path, tmp_path / "second")
    (tmp_path / "second" / "old.txt").write_text("of the earlier run")
    arguments = ("--config", trained.path / "config.yaml", "--run-dir", "second", "--overwrite")
    answer = call("train.py", *arguments)
    assert answer.code == 0, answer.err
    assert {file.name for file in (tmp_path / "second").iterdir()} == FILES
    for name in ("history.csv", "split.csv"):
        assert (tmp_path / "second" / name).read_bytes() == (trained.path / name).read_bytes()
    config, first = (yaml.safe_load((path / "config.yaml").read_text()) for path in (tmp_path / "second", trained.path))
    assert config == first | {"run_dir": "second"}
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


@pytest.fixture(scope="module")
def finished(colors, tiny_options, run_script, tmp_path_factory):
    """Train for eight epochs without a stop, with an augmented view of its own in each."""
    folder = tmp_path_factory.mktemp("finished")
    options = (*tiny_options, "--frozen-epochs", 5, "--finetune-epochs", 3, "--unfreeze", "block_12", "--views", 8)
    arguments = ("train.py", "--data", colors, *options, "--run-dir", "run")
    answer = run_script(*arguments, cwd=folder)
    assert answer.code == 0, answer.err
    return arguments, folder / "run"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stop", "code", "after"),
    [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 5), (signal.SIGKILL, -9, 6), (signal.SIGKILL, -9, 8)],
)
def test_a_stopped_run_ends_like_one_that_was_not(
    finished, run_script, start_script, call, tmp_path, stop, code, after
):
    arguments, uninterrupted = finished
    process = start_script(*arguments, cwd=tmp_path)
    checkpoints = tmp_path / ".run.partial" / "checkpoints"
    while (
        process.poll() is None and max((int(file.name[:6]) for file in checkpoints.glob("0*.npz")), default=0) < after
    ):
        time.sleep(0.005)
    process.send_signal(stop)
    begin = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert time.monotonic() - begin < 10 and process.returncode == code
    if stop != signal.SIGKILL:
        name = "Ctrl-C" if stop == signal.SIGINT else "SIGTERM"
        assert err.startswith(f"train.py: stopped by {name}; what it saved is in .run.partial; resume it with: python")
        assert err.endswith("--run-dir run --resume\n") and err.count("\n") == 1
    refused = call(*arguments)
    assert refused.code == 2 and "Give --resume to resume it" in refused.err
    other = call(*arguments, "--resume", "--seed", 1)
    assert other.code == 2 and "was started with --seed 0" in other.err
    answer = run_script(*arguments, "--resume", cwd=tmp_path)
    assert answer.code == 0 and answer.err == "" and "Resuming from epoch" in answer.out
    assert {file.name for file in (tmp_path / "run").iterdir()} == FILES
    assert (tmp_path / "run" / "history.csv").read_bytes() == (uninterrupted / "history.csv").read_bytes()
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (uninterrupted, tmp_path / "run")]
    assert metrics[0] | {"seconds": 0} == metrics[1] | {"seconds": 0}
    assert weights_in(tmp_path / "run") == weights_in(uninterrupted)
    other = call(*arguments, "--resume", "--seed", 1)
    assert other.code == 2 and "is finished, and was one with --seed 0" in other.err
    again = call(*arguments, "--resume")
    assert again.code == 0 and again.out.startswith("Run: run (it was finished before)\nNext: ")


def weights_in(run: Path) -> list[bytes]:
    """Return the bits of every weight of a run's model."""
    import keras

    model = keras.models.load_model(run / "model.keras")
    return [keras.ops.convert_to_numpy(weight).tobytes() for weight in model.weights]


@pytest.mark.slow
def test_a_run_on_a_terminal(colors, tiny_options, start_script, tmp_path):
    import os
    import pty

    ours, theirs = pty.openpty()
    arguments = ("--data", colors, *tiny_options, "--batch-size", 4, "--run-dir", "run")
    process = start_script("train.py", *arguments, cwd=tmp_path, stdout=theirs, stderr=theirs)
    os.close(theirs)
    output = b""
    try:
        while piece := os.read(ours, 65536):
            output += piece
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    text = output.decode()
    lines = [line.rpartition("\033[K")[2] for line in text.strip().split("\r\n")]
    epochs = [line for line in lines if line.startswith("Epoch ")]
    assert len(epochs) == 2 and all("img/s" in line and len(line) < 80 for line in epochs)
    assert lines[-3] == "Run: run" and "Saving …" in text and "Loading TensorFlow …" in text
    assert "Warning" not in text and "tensorflow" not in text.replace("Loading TensorFlow …", "").lower()
