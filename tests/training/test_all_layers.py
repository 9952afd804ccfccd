"""Training of all layers: every weight is trained, the average is kept, and a stop changes nothing."""

import shutil

import keras
import numpy as np
import pytest

from tlkeras.config.pretrain import AllLayersOptions
from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone
from tlkeras.training import phase
from tlkeras.training.all_layers import all_layers_optimizer, train_all_layers
from tlkeras.training.checkpoint import Checkpoints

# 30 images make 3 steps an epoch.
PLAIN = {"batch_size": 10, "flip": "none", "min_crop_area": 1.0, "color_jitter": 0.0, "learning_rate": 0.02}


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_classifier("Tiny", 3, weights="none", dropout=0.0)


def train(colored, checkpoints=None, **options) -> tuple[keras.Model, list[dict]]:
    model, options = build(), AllLayersOptions(**PLAIN | options)
    return model, train_all_layers(model, colored(30), colored(15, seed=1), options, checkpoints)


def distance(model: keras.Model, other: keras.Model) -> float:
    pairs = zip(model.get_weights(), other.get_weights(), strict=True)
    return sum(float(np.abs(one - two).sum()) for one, two in pairs)


def test_every_weight_is_trained(tiny, colored):
    model, history = train(colored, epochs=20)
    assert history[-1]["val_accuracy"] == 1.0
    assert set(history[0]) == {
        "phase", "epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy", "seconds",
    }  # fmt: skip
    before = {weight.path: np.array(weight) for weight in build().weights}
    still = [weight.path for weight in model.weights if np.array_equal(weight, before[weight.path])]
    assert not still  # BatchNormalization and its statistics too
    data = colored(15, seed=2)
    right = model.predict_on_batch(data.inputs).argmax(axis=1) == data.targets.argmax(axis=1)
    assert right.mean() == 1.0  # in inference mode: the statistics have arrived


def test_the_average_is_kept(tiny, colored):
    """An average over all steps stays closer to where the training started."""
    start = build()
    plain, long = (train(colored, epochs=10, ema=ema)[0] for ema in (0.0, 1.0))
    assert 0 < distance(long, start) < distance(plain, start)


def test_decay_spares_biases_and_batch_normalization(tiny):
    model = build()
    get_backbone(model).trainable = True
    before = {weight.path: np.array(weight) + 1 for weight in model.trainable_weights}
    for weight in model.trainable_weights:
        weight.assign(before[weight.path])
    optimizer = all_layers_optimizer(AllLayersOptions(learning_rate=0.5, weight_decay=0.5, warmup=0.0, ema=0.0), 10)
    optimizer.build(model.trainable_weights)
    optimizer.apply([keras.ops.zeros(weight.shape) for weight in model.trainable_weights])
    smaller = {weight.name for weight in model.trainable_weights if not np.array_equal(weight, before[weight.path])}
    assert smaller == {"kernel"}


class Stopping(Checkpoints):
    """Checkpoints of which a copy is kept after some epochs; the training is stopped after the last of these."""

    def write(self, number, arrays, state) -> None:
        super().write(number, arrays, state)
        if number in (1, 3, 6):
            shutil.copytree(self._folder, self._folder.parent / str(number))
        if number == 6:
            raise KeyboardInterrupt


def test_a_stopped_training_ends_as_if_it_had_not_been_stopped(tiny, colored, tmp_path):
    """After the first epoch, in the middle, after the last epoch."""
    options = {"epochs": 6, "flip": "horizontal", "min_crop_area": 0.5}
    model, history = train(colored, **options)
    with pytest.raises(KeyboardInterrupt):
        train(colored, Stopping(tmp_path / "checkpoints"), **options)
    for last in ("1", "3", "6"):
        other, again = train(colored, Checkpoints(tmp_path / last), **options)
        assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in history]
        assert distance(model, other) == 0


def test_a_loss_that_is_not_finite_is_reported(tiny, colored, monkeypatch):
    def broken(*_):
        return {"loss": lambda true, given: keras.ops.sum(given) * float("nan"), "metrics": []}

    monkeypatch.setattr(phase, "loss_and_metrics", broken)
    message = r"the training loss became nan in epoch 1\. Lower --learning-rate \(it was 0\.02\)"
    with pytest.raises(UserError, match=message):
        train(colored, epochs=2)
