"""Training on two and three logical devices of the processor; `test_distribute.py` runs this where there are some.

Sums over a batch are taken in another order there, so float32 losses of a few steps differ by some 1e-7: 1e-5 is far
above that, and far below what another batch, weight or mask would change.
"""

import keras
import numpy as np
import pytest

from tlkeras.runtime import load_tensorflow

load_tensorflow(seed=0)

import tensorflow as tf  # noqa: E402
from test_resume import EachEpochKept  # noqa: E402

from tlkeras.config.train import TrainingOptions  # noqa: E402
from tlkeras.models.batch_norm import calibrate_batch_norm  # noqa: E402
from tlkeras.models.builders import build_classifier  # noqa: E402
from tlkeras.models.introspect import get_backbone  # noqa: E402
from tlkeras.training.checkpoint import Checkpoints  # noqa: E402
from tlkeras.training.distribute import on_devices  # noqa: E402
from tlkeras.training.two_phase import train_two_phases  # noqa: E402

# 31 images make three steps of ten and one of one, which leaves the other devices without any.
OPTIONS = {
    "batch_size": 10, "frozen_epochs": 2, "finetune_epochs": 2, "head_learning_rate": 0.1, "views": 2,
    "finetune_learning_rate": 0.02, "linear_probe": "never", "unfreeze": "stage2", "layer_decay": 0.8,
}  # fmt: skip
LABELS = {
    "single_label": lambda classes: np.eye(3)[classes],
    "multi_label": lambda classes: np.eye(3)[classes] + np.eye(3)[(classes + classes // 2) % 3] > 0,
    "regression": lambda classes: classes[:, None] * 10.0,
}


def build(colored, count: int, dropout: float, task: str = "single_label", **options) -> keras.Model:
    def make() -> keras.Model:
        keras.utils.set_random_seed(0)
        data = colored(30, LABELS[task])
        outputs = data.targets.shape[1]
        model = build_classifier(
            "Tiny", outputs, task=task, weights="none", dropout=dropout, target_std=10.0, **options
        )
        calibrate_batch_norm(model, data.inputs)
        get_backbone(model).get_layer("inner_dropout").rate = dropout
        return model

    return on_devices(count, make)()


def train(colored, count, checkpoints=None, dropout=0.0, task="single_label", precision="float32", **options):
    model = build(colored, count, dropout, task, precision=precision)
    data = [colored(31, LABELS[task]), colored(13, LABELS[task], seed=1)]
    return model, train_two_phases(model, *data, TrainingOptions(**OPTIONS | options), checkpoints)


def numbers(history: list[dict]) -> np.ndarray:
    return np.array([[value for name, value in row.items() if name not in ("phase", "seconds")] for row in history])


def copies(variable: keras.Variable) -> list[np.ndarray]:
    """Return what each device holds of a variable."""
    strategy = variable.value.distribute_strategy
    return [copy.numpy() for copy in strategy.experimental_local_results(variable.value)]


def same(one: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


def test_two_devices_train_as_one(tiny, colored, tmp_path):
    started = build(colored, 1, 0.0)
    (one, result), (two, other) = (train(colored, count, views=0) for count in (1, 2))
    np.testing.assert_allclose(numbers(other.history), numbers(result.history), atol=1e-5)
    assert (other.kept, other.epoch) == (result.kept, result.epoch)
    for before, after, weight in zip(started.get_weights(), one.get_weights(), two.weights, strict=True):
        on_both = copies(weight)
        assert len(on_both) == 2 and np.array_equal(*on_both)
        np.testing.assert_allclose(on_both[0], after, atol=1e-5)
        if "conv1" in weight.path or "bn" in weight.path:
            assert np.array_equal(on_both[0], before)  # frozen, to the bit
        if "conv2/kernel" in weight.path:
            assert not np.allclose(on_both[0], before, atol=1e-3)  # and the others were trained
    two.save(tmp_path / "model.keras")
    loaded, images = keras.models.load_model(tmp_path / "model.keras"), colored(13, seed=1).inputs
    np.testing.assert_allclose(loaded.predict_on_batch(images), one.predict_on_batch(images), atol=1e-5)
    assert type(loaded.weights[0].value) is type(one.weights[0].value)  # the file knows nothing of devices
    assert '"synchronized": true' not in two.to_json()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "tolerance"),
    [
        ({}, 1e-5),
        ({"batch_size": 11}, 1e-5),  # in parts of 6 and 5; of 4, 4 and 3
        ({"optimizer": "sgd"}, 1e-5),
        # [part: fine-tuning]
        ({"optimizer": "sgd", "l2_sp": 0.1, "gradual_unfreezing": True}, 1e-5),
        ({"lora_rank": 2}, 1e-5),
        # [/part]
        ({"mixup": 0.4}, 1e-5),
        ({"class_weights": "balanced"}, 1e-5),
        ({"class_weights": "balanced", "task": "multi_label"}, 1e-5),
        ({"task": "regression"}, 1e-3),  # numbers up to 20, and their errors
        ({"linear_probe": "always"}, 1e-5),
        # Statistics over several devices are mean(x²) - mean(x)², which has fewer digits than the variance of one.
        ({"batch_norm": "train", "unfreeze": "all"}, 1e-3),
        ({"precision": "mixed_float16"}, 1e-2),  # which has three digits; the loss is scaled
    ],
    ids=lambda value: " ".join(map(str, value.values())) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("count", [2, 3])
def test_so_it_is_with_these_options(tiny, colored, options, tolerance, count):
    histories = [numbers(train(colored, devices, **options)[1].history) for devices in (1, count)]
    np.testing.assert_allclose(*histories, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize(
    "given",
    [
        {"loss": lambda true, predicted: keras.ops.square(true - predicted)},
        {"loss": keras.losses.MeanSquaredError(), "metrics": ["mae"]},
        {"callbacks": [keras.callbacks.ReduceLROnPlateau()], "schedule": "constant", "warmup": 0.0},
    ],
    ids=lambda given: " ".join(given),
)
def test_so_it_is_with_what_is_given_in_python(tiny, colored, given):
    histories = []
    for count in (1, 2):
        model = build(colored, count, 0.0)
        result = train_two_phases(model, colored(31), colored(13, seed=1), TrainingOptions(**OPTIONS), **given)
        histories.append(numbers(result.history))
    np.testing.assert_allclose(*histories, atol=1e-5)


@pytest.mark.slow
def test_a_loss_that_is_a_mean_is_a_number_without_examples(tiny, colored):
    """Here it is the mean of each part, not of each example, so it is not that of one device to the digit."""
    model = build(colored, 2, 0.0)
    options = TrainingOptions(**OPTIONS | {"views": 0})
    mean = lambda true, predicted: keras.ops.mean(keras.ops.square(true - predicted))  # noqa: E731
    one = train_two_phases(build(colored, 1, 0.0), colored(31), colored(13, seed=1), options, loss=mean)
    two = train_two_phases(model, colored(31), colored(13, seed=1), options, loss=mean)
    np.testing.assert_allclose(numbers(two.history), numbers(one.history), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("views", [0, 2])
def test_a_stopped_training_ends_the_same(tiny, colored, tmp_path, views):
    """With dropout, whose masks the devices share."""
    options = {"dropout": 0.3, "views": views, "optimizer": "adamw"}
    model, result = train(colored, 2, EachEpochKept(tmp_path / "checkpoints"), **options)
    for epoch in ("1", "2", "3", "4"):
        resumed, again = train(colored, 2, Checkpoints(tmp_path / epoch), **options)
        assert again.history == result.history
        assert same(resumed, model)


# [part: pretrain]
def train_all(colored, count, checkpoints=None) -> tuple[keras.Model, np.ndarray]:
    from tlkeras.config.pretrain import AllLayersOptions
    from tlkeras.training.all_layers import train_all_layers

    model = build(colored, count, 0.0)
    options = AllLayersOptions(epochs=6, batch_size=10, learning_rate=0.02)
    return model, numbers(train_all_layers(model, colored(31), colored(13, seed=1), options, checkpoints))


@pytest.mark.slow
def test_all_layers_are_trained_as_on_one_device(tiny, colored, tmp_path):
    (one, expected), (two, history) = (train_all(colored, count) for count in (1, 2))
    np.testing.assert_allclose(history, expected, atol=1e-3)  # the statistics are those of whole batches
    for weight, other in zip(two.weights, one.get_weights(), strict=True):
        np.testing.assert_array_equal(*copies(weight))
        np.testing.assert_allclose(weight, other, atol=2e-2)
    train_all(colored, 2, EachEpochKept(tmp_path / "checkpoints"))
    for epoch in ("1", "3", "6"):
        resumed, again = train_all(colored, 2, Checkpoints(tmp_path / epoch))
        assert same(resumed, two) and np.array_equal(again, history)


# [/part]
@pytest.mark.slow
def test_a_model_that_was_built_in_a_scope_is_trained_there(tiny, colored):
    """As one does in Python, without any option."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        model = build(colored, 1, 0.0)
        options = TrainingOptions(**OPTIONS | {"batch_norm": "train", "unfreeze": "all"})
        train_two_phases(model, colored(31), colored(13, seed=1), options)
    assert model.distribute_strategy is strategy
    for weight in model.weights:
        np.testing.assert_array_equal(*copies(weight))  # statistics too
