"""scripts/transfer_gain.py: every trial of both models on the disk, and what they say together."""

import csv

import keras
import pytest

OPTIONS = ("--backbone", "MobileNet-0.25", "--image-size", "32", "--batch-size", "8")


@pytest.mark.slow
def test_transfer_gain(made, run_script, tmp_path):
    weights = tmp_path / "MobileNet-0.25.weights.h5"
    keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None).save_weights(weights)
    pictures = made({"blue": 20, "green": 20})
    answer = run_script(
        "transfer_gain.py", "--data", pictures, *OPTIONS, "--weights", weights, "--percents", "[25,100]",
        "--seeds", 2, "--scratch-epochs", 2, "--frozen-epochs", 1, "--finetune-epochs", 1, "--run-dir", "gain",
        cwd=tmp_path,
    )  # fmt: skip
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[-1] == "Comparison: gain" and "pretrained weights" in lines[-2]
    assert [line.split()[:2] for line in lines[3:5]] == [["25", "7"], ["100", "28"]]
    assert {file.name for file in (tmp_path / "gain").iterdir()} == {"gain.png", "trials.csv", "config.yaml", "log.txt"}
    with (tmp_path / "gain" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["percent"], row["seed"]) for row in rows] == [("25", "0"), ("25", "1"), ("100", "0"), ("100", "1")]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--weights", "none"), "give the pretrained weights"),
        (("--percents", "[]"), "--percents was empty"),
        (("--percents", "[0,50]"), "--percents was"),
        (("--seeds", "1"), "--seeds was 1"),
        (("--task", "regression"), "measured in accuracy"),
    ],
)
def test_mistakes_of_transfer_gain_are_sentences(call, tmp_path, options, said):
    answer = call("transfer_gain.py", *options)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
