"""scripts/learning_curve.py: every run is kept on the disk, and what they say together."""

import csv
import hashlib
import json
import signal

import keras
import numpy as np
import pytest

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.learning_curve import LearningCurveConfig
from tlkeras.data.example import Example
from tlkeras.data.prepare import PreparedData
from tlkeras.evaluation.learning_curve import VARIANTS
from tlkeras.modalities.image import ImageModality
from tlkeras.run import learning_curve as module
from tlkeras.run.learning_curve import count_epochs, run_variants, subsample
from tlkeras.training.checkpoint import Checkpoints

FILES = {"learning_curve.png", "runs.csv", "config.yaml", "metadata.json", "log.txt"}


@pytest.mark.slow
def test_a_learning_curve_that_is_stopped_is_resumed(tiny, made, call, monkeypatch, tmp_path):
    def stop_after_two(self, number, *arguments):
        write(self, number, *arguments)
        if number == 2:
            signal.raise_signal(signal.SIGINT)

    weights, write = tmp_path / "Tiny.weights.h5", Checkpoints.write
    keras.applications.Tiny(False, None, (32, 32, 3)).save_weights(weights)
    command = (
        "learning_curve.py", "--data", made({"blue": 20, "green": 20}), "--backbone", tiny, "--image-size", 32,
        "--batch-size", 8, "--weights", weights, "--train-sizes", "[25,100]", "--seeds", 2, "--all-layers-epochs", 2,
        "--all-layers-steps", 1, "--frozen-epochs", 1, "--finetune-epochs", 1, "--finetune-steps", 1,
        "--run-dir", "curve",
    )  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "write", stop_after_two)
        stopped = call(*command)
    assert stopped.code == 130 and not (tmp_path / "curve").exists()
    assert stopped.err.startswith("learning_curve.py: stopped by Ctrl-C; ") and "resume it with: " in stopped.err
    assert stopped.err.endswith("--resume\n") and stopped.err.count("\n") == 1
    done = [[str(one["percent"]), str(one["seed"]), str(round(one["seconds"]["random"], 2))]
            for one in Checkpoints(tmp_path / ".curve.partial" / "checkpoints").latest().state["runs"]]  # fmt: skip
    assert len(done) == 2
    content = weights.read_bytes()
    keras.applications.Tiny(False, None, (32, 32, 3)).save_weights(weights)
    refused = call(*command, "--resume")
    assert refused.code == 2 and "was started with other weights" in refused.err
    weights.write_bytes(content)
    answer = call(*command, "--resume")
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[-1] == "Learning curve: curve" and "over 2 seeds" in lines[-3] and "Seconds are those" in lines[-2]
    assert any("andom weights reach" in line for line in lines)
    (title,) = (index for index, line in enumerate(lines) if line.startswith("percent    images"))
    assert [line.split()[:2] for line in lines[title + 1 : title + 7 : 3]] == [["25", "8"], ["100", "34"]]
    assert {file.name for file in (tmp_path / "curve").iterdir()} == FILES
    with (tmp_path / "curve" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    variants = ("random", "all_layers", "two_phases")
    columns = [f"{metric}_{variant}" for metric in ("accuracy", "seconds") for variant in variants]
    assert list(rows[0]) == ["percent", "images", "seed", *columns]
    assert 0 <= float(rows[0]["accuracy_random"]) <= 1
    metadata = json.loads((tmp_path / "curve" / "metadata.json").read_text())
    assert metadata["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert metadata["all_layers"]["label_smoothing"] == 0.1
    assert [(row["percent"], row["seed"]) for row in rows] == [("25", "0"), ("25", "1"), ("100", "0"), ("100", "1")]
    assert [[row["percent"], row["seed"], row["seconds_random"]] for row in rows][: len(done)] == done  # not run again
    assert call(*command, "--resume").out == "Learning curve: curve (it was finished before)\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", ""), "Nothing was given for --data"),
        (("--backbone", "kerashub:bert_tiny"), "Give a name from the table"),
        (("--weights", "none"), "give the pretrained weights"),
        (("--unfreeze", "block_99"), "There is no stage"),
        (("--validation-split", "0.5", "--test-split", "0.5"), "leave less than a tenth"),
        (("--train-sizes", "[]"), "--train-sizes was empty"),
        (("--train-sizes", "[0,50]"), "--train-sizes was"),
        (("--seeds", "1"), "--seeds was 1"),
        (("--task", "regression"), "a learning curve compares accuracies"),
        (("--task", "multi_label"), "a learning curve compares accuracies"),
        (("--class-weights", "balanced"), "training from random weights goes without"),
    ],
)
def test_mistakes_are_sentences(call, tmp_path, options, said):
    answer = call("learning_curve.py", "--data", "digits", *options)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def prepared(own_test: bool) -> PreparedData:
    """Return twenty images of one class and ten of another."""
    examples = [Example(str(number), "ab"[number % 3 == 0]) for number in range(30)]
    splits = {"train": np.arange(0, 20), "validation": np.arange(20, 25)}
    if own_test:
        splits["test"] = np.arange(25, 30)
    else:
        splits["validation"] = np.arange(20, 30)
    modality = ImageModality(8)
    return PreparedData(
        "single_label", ["a", "b"], modality, np.zeros((30, 8, 8, 3), "uint8"), examples, splits, [], []
    )


@pytest.mark.parametrize("own_test", [True, False])
def test_no_test_image_is_trained_on(own_test):
    data = prepared(own_test)
    evaluated = set(data.splits["test" if own_test else "validation"])
    smaller = set()
    for percent in (5, 25, 50, 100):
        subset = set(subsample(data, percent, seed=1))
        assert smaller <= subset
        assert not subset & evaluated
        smaller = subset
    assert len(smaller) == 30 - len(evaluated)


def test_each_class_has_a_training_image():
    data = prepared(own_test=True)
    assert sorted(data.examples[index].label for index in subsample(data, 1, seed=0)) == ["a", "b"]


def test_all_variants_are_trained_alike_but_for_their_initial_weights(monkeypatch):
    trained = []

    def note(config, *rest, phases):
        trained.append((phases, config.weights, rest))
        return 0.5, 1.0

    monkeypatch.setattr(module, "train_variant", note)
    config = LearningCurveConfig(data="digits", weights="bundled")
    run = run_variants(config, get_backbone_spec("MobileNetV2-0.35"), prepared(own_test=True), 50, seed=3)
    assert [one[:2] for one in trained] == [(1, "none"), (1, "bundled"), (2, "bundled")]
    for same in trained:  # backbone, data, splits, seed
        assert all(one is other for one, other in zip(same[2], trained[0][2], strict=True))
    assert list(run.accuracy) == list(VARIANTS) and run.images == 12


@pytest.mark.parametrize(("images", "epochs"), [(79, 34), (320, 12), (12, 100)])
def test_few_images_are_trained_on_for_more_epochs(images, epochs):
    config = LearningCurveConfig(data="digits", batch_size=32)
    assert count_epochs(images, config, epochs=12, steps=100) == epochs
