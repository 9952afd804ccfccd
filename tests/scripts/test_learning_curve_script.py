"""scripts/learning_curve.py: every trial of both models on the disk, and what they say together."""

import csv
import hashlib
import json
import signal
import time

import keras
import numpy as np
import pytest

from tlkeras.backbones import get_backbone_spec
from tlkeras.config import LearningCurveConfig
from tlkeras.data.example import Example
from tlkeras.data.prepare import PreparedData
from tlkeras.evaluation.learning_curve import ARMS
from tlkeras.modalities.base import pictures
from tlkeras.run.learning_curve_run import epochs_of, subsample, trial
from tlkeras.training.checkpoint import Checkpoints

FILES = {"gain.png", "trials.csv", "config.yaml", "about.json", "log.txt"}
OPTIONS = ("--backbone", "MobileNet-0.25", "--image-size", "32", "--batch-size", "8")


@pytest.mark.slow
def test_a_comparison_that_is_stopped_goes_on(made, run_script, start_script, tmp_path):
    weights = tmp_path / "MobileNet-0.25.weights.h5"
    keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None).save_weights(weights)
    command = (
        "learning_curve.py", "--data", made({"blue": 20, "green": 20}), *OPTIONS, "--weights", weights,
        "--train-sizes", "[25,100]", "--seeds", 2, "--scratch-epochs", 2, "--scratch-steps", 1, "--frozen-epochs", 1,
        "--finetune-epochs", 1, "--finetune-steps", 1, "--run-dir", "gain",
    )  # fmt: skip
    process = start_script(*command, cwd=tmp_path)
    kept = tmp_path / ".gain.partial" / "checkpoints"
    while not list(kept.glob("000002-*.npz")) and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert err.startswith("learning_curve.py: stopped by Ctrl-C; go on after what was finished") and "--resume" in err
    done = [[str(one["percent"]), str(one["seed"]), str(round(one["seconds"]["random"], 2))]
            for one in Checkpoints(kept).latest().state["trials"]]  # fmt: skip
    whole = weights.read_bytes()
    keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None).save_weights(weights)
    refused = run_script(*command, "--resume", cwd=tmp_path)
    assert refused.code == 2 and "was begun with other weights" in refused.err
    weights.write_bytes(whole)
    answer = run_script(*command, "--resume", cwd=tmp_path)
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[-1] == "Comparison: gain" and "over 2 seeds" in lines[-3] and "Seconds are those" in lines[-2]
    assert any("andom weights reach" in line for line in lines)
    (title,) = (place for place, line in enumerate(lines) if line.startswith("percent  pictures"))
    assert [line.split()[:2] for line in lines[title + 1 : title + 7 : 3]] == [["25", "8"], ["100", "34"]]
    assert {file.name for file in (tmp_path / "gain").iterdir()} == FILES
    with (tmp_path / "gain" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    arms = ("random", "all_layers", "two_phases")
    figures = [f"{figure}_{arm}" for figure in ("accuracy", "seconds") for arm in arms]
    assert list(rows[0]) == ["percent", "pictures", "seed", *figures]
    assert 0 <= float(rows[0]["accuracy_random"]) <= 1
    about = json.loads((tmp_path / "gain" / "about.json").read_text())
    assert (
        about["weights_sha256"] == hashlib.sha256(whole).hexdigest() and about["all_layers"]["label_smoothing"] == 0.1
    )
    assert [(row["percent"], row["seed"]) for row in rows] == [("25", "0"), ("25", "1"), ("100", "0"), ("100", "1")]
    assert [[row["percent"], row["seed"], row["seconds_random"]] for row in rows][: len(done)] == done  # not run again
    assert run_script(*command, "--resume", cwd=tmp_path).out == "Comparison: gain (finished before)\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--data", "reviews", "--backbone", "kerashub:bert_tiny"), "is an encoder for texts, and pictures are wanted"),
        (("--weights", "none"), "give the pretrained weights"),
        (("--unfreeze", "block_99"), "There is no stage"),
        (("--validation-split", "0.5", "--test-split", "0.5"), "leave less than a tenth"),
        (("--train-sizes", "[]"), "--train-sizes was empty"),
        (("--train-sizes", "[0,50]"), "--train-sizes was"),
        (("--seeds", "1"), "--seeds was 1"),
        (("--task", "regression"), "measured in accuracy"),
        (("--task", "multi_label"), "measured in accuracy"),
        (("--class-weights", "balanced"), "the model from random weights goes without"),
    ],
)
def test_mistakes_of_transfer_gain_are_sentences(call, tmp_path, options, said):
    answer = call("learning_curve.py", *options)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def prepared(own_test: bool) -> PreparedData:
    """Twenty pictures of one class and ten of another."""
    examples = [Example(str(number), "ab"[number % 3 == 0]) for number in range(30)]
    splits = {"train": np.arange(0, 20), "validation": np.arange(20, 25)}
    if own_test:
        splits["test"] = np.arange(25, 30)
    else:
        splits["validation"] = np.arange(20, 30)
    return PreparedData("single_label", ["a", "b"], pictures(8), np.zeros((30, 8, 8, 3), "uint8"), examples, splits, [])


@pytest.mark.parametrize("own_test", [True, False])
def test_what_is_judged_is_never_learned_from(own_test):
    data = prepared(own_test)
    judged = set(data.splits["test" if own_test else "validation"])
    held = set()
    for percent in (5, 25, 50, 100):
        share = set(subsample(data, percent, seed=1))
        assert held <= share  # a larger share holds the smaller one
        assert not share & judged
        held = share
    assert len(held) == 30 - len(judged)


def test_each_class_has_a_picture_to_learn_from():
    data = prepared(own_test=True)
    assert sorted(data.examples[place].label for place in subsample(data, 1, seed=0)) == ["a", "b"]


def test_but_for_its_first_weights_an_arm_is_trained_like_random_ones(monkeypatch):
    trained = []

    def note(name):
        return lambda config, *rest: trained.append((name, config.weights, rest)) or (0.5, 1.0)

    for name in ("all_layers", "two_phases"):
        monkeypatch.setattr(f"tlkeras.run.learning_curve_run.{name}", note(name))
    config = LearningCurveConfig(data="digits", weights="bundled")
    found = trial(config, get_backbone_spec("MobileNetV2-0.35"), prepared(own_test=True), 50, seed=3)
    assert [one[:2] for one in trained] == [
        ("all_layers", "none"),
        ("all_layers", "bundled"),
        ("two_phases", "bundled"),
    ]
    assert trained[0][2] == trained[1][2] == trained[2][2]  # backbone, task, pictures, seed
    assert list(found.accuracy) == list(ARMS) and found.images == 12


@pytest.mark.parametrize(("pictures", "epochs"), [(79, 34), (320, 12), (12, 100)])
def test_few_pictures_are_learned_from_for_more_epochs(pictures, epochs):
    config = LearningCurveConfig(data="digits", batch_size=32)
    assert epochs_of({"train": range(pictures)}, config, epochs=12, steps=100) == epochs
