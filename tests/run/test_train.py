"""What is given in Python to `tlkeras.train`: used, recorded by name, and asked for again when a run is resumed."""

import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from tlkeras.config.files import read_config_file
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError
from tlkeras.run.evaluate import evaluate
from tlkeras.run.train import train

CONFIG = {"image_size": 16, "frozen_epochs": 1, "finetune_epochs": 1, "views": 1}


@pytest.fixture
def config(colored, tmp_path, monkeypatch) -> TrainConfig:
    monkeypatch.chdir(tmp_path)
    for number, pixels in enumerate(colored(30).inputs):
        path = Path("photos", "rgb"[number % 3], f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return TrainConfig(data="photos", run_dir="run", **CONFIG)


def backbone(size: int | None = 16) -> keras.Model:
    keras.utils.set_random_seed(1)
    layers = [
        keras.Input((size, size, 3)),
        keras.layers.Conv2D(4, 3, name="low"),
        keras.layers.Conv2D(4, 3, name="high"),
    ]
    return keras.Sequential(layers, name="mine")


def mirrored(images: np.ndarray) -> np.ndarray:
    return images[:, :, ::-1]


@pytest.mark.parametrize("own", [True, False])
def test_all_layers_are_trained_where_images_are_far_below_the_backbones_size(config, own):
    given = {"backbone": backbone(None)} if own else {"backbone": "MobileNetV2-0.35", "weights": "bundled"}
    run = train(config, image_size=32, **given)
    options = yaml.safe_load((run / "config.yaml").read_text())
    assert (options["unfreeze"], options["layer_decay"]) == (("25%", 0.8) if own else ("all", 1.0))


def test_a_run_with_objects_of_ones_own(config, capsys):
    given = {"backbone": backbone(), "head": keras.layers.Dense(5), "augment": mirrored, "callbacks": (),
             "loss": keras.losses.Poisson(), "metrics": [keras.metrics.AUC(name="auc")]}  # fmt: skip
    run = train(config, **given)
    names = {"loss": "poisson", "metrics": "auc", "head": "dense", "augment": "mirrored", "backbone": "mine"}
    options = yaml.safe_load((run / "config.yaml").read_text())
    assert options["given_in_python"] | {"head": "dense"} == names and options["backbone"] == "mine"
    metrics = json.loads((run / "metrics.json").read_text())
    assert all(0 <= metrics[name]["auc"] <= 1 for name in ("train", "validation", "test"))
    assert metrics["monitor"] == "val_loss" and metrics["monitor_value"] > 0
    assert evaluate(run)["test"]["accuracy"] == metrics["test"]["accuracy"]
    again = dataclasses.replace(config, resume=True)
    assert train(again, **given) == run
    with pytest.raises(UserError, match=r"is finished, and was one with loss=poisson"):
        train(again, **given | {"loss": None})
    capsys.readouterr()
    read = read_config_file(str(run / "config.yaml"), [entry.name for entry in dataclasses.fields(TrainConfig)])
    assert "given_in_python" not in read
    assert "was trained with loss=poisson, metrics=auc, head=dense" in capsys.readouterr().out


def test_classes_that_a_saved_model_needs_are_asked_for_before_the_training(config):
    class Doubled(keras.layers.Layer):
        def call(self, x):
            return x * 2

    with pytest.raises(UserError, match=r"could not be opened again once it is saved: .*'Doubled'.*register_keras"):
        train(config, backbone=backbone(), head=Doubled())
    assert not Path("run").exists() and not list(Path().glob(".*partial"))
