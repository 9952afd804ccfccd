"""Training from random weights: everything learns, the average is what is kept, and a stop changes nothing."""

import keras
import numpy as np
import pytest

from tlkeras.config.pretrain import AllLayersOptions
from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone
from tlkeras.training import from_scratch
from tlkeras.training.all_layers import all_layers_optimizer, train_all_layers
from tlkeras.training.checkpoint import Checkpoints

# 30 images make 3 steps an epoch.
PLAIN = {"batch_size": 10, "flip": "none", "min_crop_area": 1.0, "color_jitter": 0.0, "learning_rate": 0.02}


def build() -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_classifier("Tiny", 3, weights="none", dropout=0.0)


def train(colored, checkpoints=None, **options) -> tuple[keras.Model, list[dict]]:
    model = build()
    history = train_all_layers(
        model, colored(30), colored(15, seed=1), AllLayersOptions(**PLAIN | options), checkpoints
    )
    return model, history


def values(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.weights]


def distance(model: keras.Model, other: keras.Model) -> float:
    return sum(float(np.abs(one - two).sum()) for one, two in zip(values(model), values(other), strict=True))


def test_every_weight_learns(tiny, colored):
    model, history = train(colored, epochs=20)
    assert history[-1]["val_accuracy"] == 1.0
    assert set(history[0]) == {
        "phase", "epoch", "rate", "loss", "accuracy", "val_loss", "val_accuracy", "seconds",
    }  # fmt: skip
    before = {weight.path: np.array(weight) for weight in build().weights}
    still = [weight.path for weight in model.weights if np.array_equal(weight, before[weight.path])]
    assert not still  # BatchNormalization and its statistics too
    data = colored(15, seed=2)
    right = model.predict_on_batch(data.inputs).argmax(axis=1) == data.targets.argmax(axis=1)
    assert right.mean() == 1.0  # in inference mode: the statistics have arrived


def test_the_average_is_kept(tiny, colored):
    """An average over all steps stays closer to where the training began."""
    start = build()
    plain, long = (train(colored, epochs=10, average=average)[0] for average in (0.0, 1.0))
    assert 0 < distance(long, start) < distance(plain, start)


def test_decay_spares_biases_and_batch_normalization(tiny):
    model = build()
    get_backbone(model).trainable = True
    before = {weight.path: np.array(weight) + 1 for weight in model.trainable_weights}
    for weight in model.trainable_weights:
        weight.assign(before[weight.path])
    optimizer = all_layers_optimizer(AllLayersOptions(rate=0.5, weight_decay=0.5, warmup=0.0, average=0.0), 10)
    optimizer.build(model.trainable_weights)
    optimizer.apply([keras.ops.zeros(weight.shape) for weight in model.trainable_weights])
    smaller = {weight.name for weight in model.trainable_weights if not np.array_equal(weight, before[weight.path])}
    assert smaller == {"kernel"}


@pytest.mark.parametrize("last", [1, 3, 6], ids=["after the first epoch", "in the middle", "after the last epoch"])
def test_a_stopped_training_ends_as_if_it_had_not_been_stopped(tiny, colored, tmp_path, monkeypatch, last):
    def stop_after(epoch, *arguments):
        write(epoch, *arguments)
        if epoch == last:
            raise KeyboardInterrupt

    model, history = train(colored, epochs=6, flip="horizontal", min_crop_area=0.5)
    checkpoints = Checkpoints(tmp_path)
    write = checkpoints.write
    monkeypatch.setattr(checkpoints, "write", stop_after)
    with pytest.raises(KeyboardInterrupt):
        train(colored, checkpoints, epochs=6, flip="horizontal", min_crop_area=0.5)
    other, again = train(colored, Checkpoints(tmp_path), epochs=6, flip="horizontal", min_crop_area=0.5)
    assert [row | {"seconds": 0} for row in again] == [row | {"seconds": 0} for row in history]
    assert distance(model, other) == 0


def test_a_loss_that_is_no_number_is_a_sentence(tiny, colored, monkeypatch):
    def broken(*_):
        return {"loss": lambda true, given: keras.ops.sum(given) * float("nan"), "metrics": []}

    monkeypatch.setattr(from_scratch, "objective", broken)
    with pytest.raises(UserError, match=r"the training loss became nan in epoch 1. Lower the rate \(it was 0.02\)"):
        train(colored, epochs=2)
