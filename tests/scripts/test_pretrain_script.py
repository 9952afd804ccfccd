"""scripts/pretrain.py: weights that --weights takes, a model card, a stop that costs nothing."""

import csv
import hashlib
import json
import shutil
import signal
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.pretrain import PretrainConfig
from tlkeras.run.model_card import card_path, command, data_name, initial_weights, write_model_card
from tlkeras.run.pretrain import pretrain
from tlkeras.training.all_layers import train_all_layers
from tlkeras.training.checkpoint import Checkpoints

DESCRIPTION = "made; public domain"
OPTIONS = ("--image-size", "32", "--batch-size", "8", "--data-description", DESCRIPTION)


@pytest.fixture(scope="module")
def pretrained(tiny_backbone, colors, tmp_path_factory):
    """Train two epochs on images of colors, in this process; do not write into the folder."""
    folder = tmp_path_factory.mktemp("pretrained") / "runs" / "tiny"
    with tiny_backbone() as name:
        config = PretrainConfig(
            data=str(colors), backbone=name, image_size=32, batch_size=8, data_description=DESCRIPTION, epochs=2,
            run_dir=str(folder),
        )  # fmt: skip
        assert pretrain(config) == folder / "Tiny.weights.h5"
    return folder


def test_what_is_written(pretrained):
    assert {file.name for file in pretrained.iterdir()} == {
        "Tiny.weights.h5", "Tiny.md", "config.yaml", "history.csv", "metrics.json", "log.txt",
        "model.keras", "labels.json", "split.csv", "unreadable.csv", "findings.json",
    }  # fmt: skip
    with (pretrained / "history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]
    card = (pretrained / "Tiny.md").read_text()
    digest = hashlib.sha256((pretrained / "Tiny.weights.h5").read_bytes()).hexdigest()
    command = "python scripts/pretrain.py --data images --backbone Tiny --image-size 32 --epochs 2"
    for said in (
        digest,
        DESCRIPTION,
        "top-1, validation | accuracy ",
        "keras 3.",
        "3 classes",
        "at 32 px, in float32",
        "initial weights | random |",
    ):
        assert said in card
    line = next(line for line in card.splitlines() if line.startswith("python"))
    assert set(line.split()) == {*command.split(), "--batch-size", "8"}


def read(weights=None) -> keras.Model:
    """Read a weight file with plain Keras."""
    model = keras.applications.Tiny(include_top=False, weights=None, input_shape=(32, 32, 3))
    if weights:
        model.load_weights(weights)
    return model


def test_plain_keras_reads_the_weights(tiny, pretrained):
    model = read(pretrained / "Tiny.weights.h5")
    assert not any(np.array_equal(one, two) for one, two in zip(model.weights, read().weights, strict=True))


def test_train_takes_the_weights(tiny, pretrained, colors, call):
    weights = pretrained / "Tiny.weights.h5"
    answer = call("train.py", "--data", colors, "--backbone", tiny, *OPTIONS[:4], "--weights", weights,
                  "--frozen-epochs", 1, "--finetune-epochs", 0)  # fmt: skip
    assert answer.code == 0 and "Tiny.weights.h5, SHA-256" in answer.out


def test_its_folder_is_a_run_like_any_other(pretrained, colors, call):
    metrics = json.loads((pretrained / "metrics.json").read_text())
    evaluated = call("evaluate.py", pretrained)
    assert evaluated.code == 0 and f"Test: accuracy {metrics['test']['accuracy']:.3f}" in evaluated.out, evaluated.err
    predicted = call("predict.py", pretrained, colors / "red", "--json")
    classes = json.loads((pretrained / "labels.json").read_text())["classes"]
    assert predicted.code == 0 and {one["label"] for one in json.loads(predicted.out) if "label" in one} <= set(classes)


def first_file(folder):
    """Random weights of the tiny backbone in a file."""
    folder.mkdir()
    keras.applications.Tiny(False, None, (32, 32, 3)).save_weights(folder / "Tiny.weights.h5")
    return folder / "Tiny.weights.h5"


def test_a_stopped_training_is_resumed_from_its_own_initial_weights(tiny, colors, call, tmp_path, monkeypatch):
    def stop_after_one(self, number, *arguments):
        write(self, number, *arguments)
        raise KeyboardInterrupt

    weights = first_file(tmp_path / "first")
    content = weights.read_bytes()
    options = ("--backbone", tiny, "--epochs", 2, "--weights", weights, "--run-dir", "started")
    command = ("pretrain.py", "--data", colors, *OPTIONS, *options)
    write = Checkpoints.write
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "write", stop_after_one)
        assert "--resume" in call(*command).err
    weights.write_bytes(first_file(tmp_path / "other").read_bytes())
    assert "was started with other weights" in call(*command, "--resume").err
    weights.write_bytes(content)
    answer = call(*command, "--resume")
    assert answer.code == 0 and "Resuming from epoch 1." in answer.out
    assert f"there is no model card beside {weights.name}" in answer.out
    card = (tmp_path / "started" / "Tiny.md").read_text()
    assert f"SHA-256 `{hashlib.sha256(content).hexdigest()}`, without a model card" in card


def test_it_starts_from_the_weights_that_are_given(tiny, colors, call, tmp_path, monkeypatch):
    """Whatever becomes of the file and its model card meanwhile."""

    def removed(*arguments):
        shutil.rmtree(weights.parent)
        return train_all_layers(*arguments)

    weights = first_file(tmp_path / "first")
    weights.with_name("Tiny.md").write_text("# The first\n\nIts data, and their license.\n")
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    initial = keras.applications.Tiny(False, None, (32, 32, 3))
    initial.load_weights(weights)
    monkeypatch.setattr("tlkeras.training.all_layers.train_all_layers", removed)
    options = ("--backbone", tiny, "--epochs", 1, "--learning-rate", 1e-9, "--weights", weights, "--run-dir", "run")
    answer = call("pretrain.py", "--data", colors, *OPTIONS[:-2], *options)
    assert answer.code == 0 and answer.err == "" and answer.out.splitlines()[-1] == "Weights: run/Tiny.weights.h5"
    assert "--data-description does" in answer.out and "Tiny.weights.h5, SHA-256" in answer.out
    trained = keras.applications.Tiny(False, None, (32, 32, 3))
    trained.load_weights(tmp_path / "run" / "Tiny.weights.h5")
    for one, two in zip(initial.trainable_weights, trained.trainable_weights, strict=True):
        assert np.allclose(one, two, atol=1e-6)
    card = (tmp_path / "run" / "Tiny.md").read_text()
    assert f"initial weights | `Tiny.weights.h5`, SHA-256 `{digest}`, described below" in card
    assert "--weights Tiny.weights.h5" in card
    assert card.endswith("\n## Initial weights: The first\n\nIts data, and their license.\n")


def test_the_model_of_a_run_has_the_model_card_of_its_weights(tiny, pretrained):
    first = initial_weights(get_backbone_spec(tiny), str(pretrained / "model.keras"), "abc")
    assert (first.name, first.digest) == ("model.keras", "abc") and first.card == (pretrained / "Tiny.md").read_text()


@pytest.mark.parametrize("file", ["mine.weights.h5", "mine.h5", "mine.keras"])
def test_path_of_a_model_card(tmp_path, file):
    assert card_path(tmp_path / file, get_backbone_spec("MobileNet-0.25")) == tmp_path / "mine.md"


@pytest.mark.parametrize("weights", ["none", "imagenet"])
def test_a_model_card_says_that_its_time_is_not_all(tmp_path, weights):
    file = tmp_path / "MobileNet-0.25.weights.h5"
    file.touch()
    data = SimpleNamespace(task="single_label", image_size=32, splits={"train": [0, 1]}, classes=["ant", "bee"])
    write_model_card(file, PretrainConfig(data="photos", backbone="MobileNet-0.25", weights=weights), data, {}, 60.0)
    card = (tmp_path / "MobileNet-0.25.md").read_text()
    assert "time | 1.0 min on" in card and (", from the initial weights on |" in card) == (weights == "imagenet")


@pytest.mark.slow
def test_a_stopped_training_is_resumed(colors, run_script, start_script, tmp_path):
    """Stop it after the first epoch: the weights are those of a run that was not stopped; plain Keras reads them."""
    command = ("pretrain.py", "--data", colors, "--backbone", "MobileNet-0.25", *OPTIONS, "--epochs", 2)
    answer = run_script(*command, "--run-dir", "whole", cwd=tmp_path)
    assert answer.code == 0 and answer.err == "" and "--data-description does" not in answer.out
    command += ("--run-dir", "runs/stopped")
    process = start_script(*command, cwd=tmp_path)
    folder, partial = tmp_path / "runs" / "stopped", tmp_path / "runs" / ".stopped.partial"
    while not list(partial.glob("checkpoints/000001-*.npz")) and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert not folder.exists()
    answer = run_script(*command, "--resume", cwd=tmp_path)
    assert answer.code == 0 and answer.err == "" and "Resuming from epoch" in answer.out
    assert answer.out.splitlines()[-1] == "Weights: runs/stopped/MobileNet-0.25.weights.h5"
    models = [keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3))
              for _ in range(2)]  # fmt: skip
    for model, run in zip(models, (tmp_path / "whole", folder), strict=True):
        model.load_weights(run / "MobileNet-0.25.weights.h5")
    assert all(np.array_equal(a, b) for a, b in zip(models[0].weights, models[1].weights, strict=True))


def test_a_finished_training_is_kept(tiny, pretrained, colors, call):
    options = ("pretrain.py", "--data", colors, "--backbone", tiny, *OPTIONS, "--epochs", 2, "--run-dir", pretrained)
    assert "exists already" in call(*options).err
    assert "(it was finished before)" in call(*options, "--resume").out


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ("tfds:rock_paper_scissors:3.*.*:train", "tfds:rock_paper_scissors:3.*.*:train"),
        ("tfds:/home/me/sets/flowers/1.0.0:train=train[:80%]", "tfds:flowers/1.0.0:train=train[:80%]"),
        ("/home/me/photos", "photos"),
    ],
)
def test_a_model_card_names_no_folder_of_this_machine(given, named):
    assert data_name(given) == named
    assert command(PretrainConfig(data=given, weights="/home/me/x.h5")).count("/home") == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "Nothing was given for --data"),
        (("--data", "nowhere"), "nowhere"),
        (("--data", "digits", "--task", "regression"), "a backbone is pretrained on classes"),
        (("--data", "digits", "--backbone", "VGG16", "--image-size", "8"), "at least 32"),
        (("--data", "digits", "--backbone", "kerashub:bert_tiny"), "Give a name from the table"),
        (("--data", "digits", "--run-dir", "full", "--overwrite"), "is not a run's folder"),
        (("--data", "digits", "--overwrite", "--resume"), "give one of them"),
        (("--data", "digits", "--ema", "2"), "--ema was 2"),
        (("--data", "digits", "--validation-split", "0.5", "--test-split", "0.49"), "leave less than a tenth"),
        (("--data", "digits", "--weights", "lost.h5"), "lost.h5"),
        (("--data", "digits", "--weights", "bundled", "--backbone", "VGG16"), "No weights of VGG16"),
    ],
)
def test_mistakes_are_sentences(call, tmp_path, options, said):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    answer = call("pretrain.py", *options)
    assert answer.code == 2 and said in answer.err and answer.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["full"]
