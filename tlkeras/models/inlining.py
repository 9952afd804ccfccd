"""Graphs without functions of their own inside them.

Keras hands grouped convolutions, as ConvNeXt has them, to XLA as functions of their own. On a processor they are many
times slower than TensorFlow's kernels, which compute the same, and no converter reads them.
"""

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import keras
import tensorflow as tf

from tlkeras.models.keras_private import flatten_layers

LOCK = threading.RLock()
P = ParamSpec("P")
R = TypeVar("R")


@contextlib.contextmanager
def inlined() -> Iterator[None]:
    """Inline each `tf.function` that is called while a graph is traced in this block."""
    with LOCK:  # as this is of the whole process, and threads may trace at the same time
        before = tf.config.functions_run_eagerly()
        tf.config.run_functions_eagerly(True)  # they are called like any Python function; the outer one is traced
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(before)


def inline_convolutions(model: keras.Model) -> keras.Model:
    """Let `fit`, `evaluate` and `predict` of a model run grouped convolutions as TensorFlow does; return the model.

    Not on several devices, which trace a step each at the same time.
    """
    grouped = any(getattr(layer, "groups", 1) not in (1, None) for layer in flatten_layers(model))
    if grouped and model.distribute_strategy.num_replicas_in_sync == 1:
        for name in ("train_step", "test_step", "predict_step"):
            setattr(model, name, _inlined(getattr(model, name)))
    return model


def _inlined(step: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(step)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with inlined():
            return step(*args, **kwargs)

    return inside
