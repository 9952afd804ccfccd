"""Several devices train one model: each takes a part of every batch, and their gradients are added up."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, ParamSpec, TypeVar

import keras
import tensorflow as tf

from tlkeras.errors import UserError
from tlkeras.models.keras_private import build_from_shapes, flatten_layers

P = ParamSpec("P")
R = TypeVar("R")
there = ContextVar("there", default=False)  # whether a function trains on its model's devices now


def make_strategy(count: int) -> tf.distribute.Strategy:
    """Return the strategy of the first GPUs, or of the logical CPU devices where TensorFlow has no GPU.

    Raises:
        UserError: there are not so many.
    """
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) < count:
        has = f"{len(gpus) or 'no'} GPU{'' if len(gpus) == 1 else 's'}"
        raise UserError(
            f"--devices was {count}, and TensorFlow has {has} here. Leave it out, or see scripts/doctor.py. To try it "
            f"out without GPUs, set TLKERAS_CPU_DEVICES={count}: the processor is then {count} devices."
        )
    names = [device.name for device in devices[:count]]
    if gpus:
        return tf.distribute.MirroredStrategy(names)
    return tf.distribute.MirroredStrategy(names, tf.distribute.ReductionToOneDevice())


def on_devices(count: int | Literal["auto"], build: Callable[P, R]) -> Callable[P, R]:
    """Return a function that builds a model on so many devices, which then train it; one is what Keras does anyway."""
    if count in (1, "auto"):
        return build

    @functools.wraps(build)
    def built(*args: P.args, **kwargs: P.kwargs) -> R:
        with make_strategy(int(count)).scope():
            return build(*args, **kwargs)

    return built


def on_its_devices(model: Any, train: Callable[P, R]) -> Callable[P, R] | None:
    """Return a function that trains on the devices that a model was built on; None where that is so anyway."""
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is None or strategy.num_replicas_in_sync == 1 or there.get():
        return None

    @functools.wraps(train)
    def trained(*args: P.args, **kwargs: P.kwargs) -> R:
        token = there.set(True)
        try:
            with strategy.scope(), whole_batch_statistics(model):
                return train(*args, **kwargs)
        finally:
            there.reset(token)

    return trained


@contextlib.contextmanager
def whole_batch_statistics(model: keras.Model) -> Iterator[None]:
    """Let BatchNormalization that is trained normalize by the whole batch, and not by each device's part of it."""
    layers = [layer for layer in flatten_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.synchronized for layer in layers]
    for layer in layers:
        layer.synchronized = True
    try:
        yield
    finally:
        for layer, synchronized in zip(layers, before, strict=True):
            layer.synchronized = synchronized  # the saved model is then that of one device


def loss_on_devices(part: keras.Model, loss: Any) -> Any:
    """Return the loss to compile a part of a model with; prepare it for several devices if it was built on several."""
    if part.distribute_strategy.num_replicas_in_sync == 1:
        return loss
    build_from_shapes(part)
    return WholeBatchLoss(loss)


class WholeBatchLoss(keras.losses.Loss):
    """A loss with the gradient of the mean over the whole batch, also where devices have unequal parts of it.

    Keras takes the mean of the devices' means, in which an example counts for more in a small part, such as one of the
    last batch. The value, of which Keras shows the mean over all examples, stays that of each part.
    """

    def __init__(self, loss: Any) -> None:
        super().__init__()
        self._loss = keras.losses.get(loss)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        loss = self._loss(y_true, y_pred)
        if len(loss.shape):
            return loss  # of each example
        # A mean, which is not a number where there are no examples; Keras scales arrays only.
        compute = lambda: tf.reshape(self._loss(y_true, y_pred), (1,))  # noqa: E731
        return tf.cond(tf.shape(y_pred)[0] > 0, compute, lambda: tf.zeros((1,), loss.dtype))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        reduced = self._loss if isinstance(self._loss, keras.losses.Loss) else super().__call__
        loss = reduced(y_true, y_pred, sample_weight)
        replica = tf.distribute.get_replica_context()
        if replica is None:  # Keras only asks for the shape of the result
            return loss
        examples = tf.cast(tf.shape(y_pred)[0], loss.dtype)
        scale = replica.num_replicas_in_sync * examples / replica.all_reduce(tf.distribute.ReduceOp.SUM, examples)
        return loss * scale - tf.stop_gradient(loss * (scale - 1))


def self_test(count: int | Literal["auto"]) -> None:
    """Add up numbers over several devices, and train on them; print what is being done, and last how many there are.

    One device, or none, is not tested. What is tried is what a training needs: gradients are added up, and a last
    batch leaves all devices but one without examples.
    """
    chosen = len(tf.config.list_physical_devices("GPU")) if count == "auto" else count
    if chosen > 1:
        print("connecting the devices", flush=True)
        strategy = make_strategy(chosen)
        print("adding up over the devices", flush=True)
        summed = strategy.run(lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.ones(1 << 16)))
        copies = strategy.experimental_local_results(summed)
        if any(tf.reduce_any(copy != chosen) for copy in copies):
            raise RuntimeError(f"the sum of {chosen} ones over the devices was {float(copies[0][0]):g}")
        print("training on the devices", flush=True)
        with strategy.scope():
            inputs = keras.Input((8, 8, 3))
            x = keras.layers.BatchNormalization(trainable=False)(keras.layers.Conv2D(4, 3)(inputs))
            model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
            model.compile("sgd", loss_on_devices(model, "mse"), jit_compile=False)
            images = tf.ones((2 * chosen + 1, 8, 8, 3))
            model.fit(images, images[:, 0, 0, :1], batch_size=2 * chosen, verbose=0)
        for variable in model.weights:
            first, *others = strategy.experimental_local_results(variable.value)
            if not all(bool(tf.reduce_all(first == other)) for other in others):
                raise RuntimeError("after a step of training the devices had different weights")
    print(f"devices {chosen}", flush=True)
