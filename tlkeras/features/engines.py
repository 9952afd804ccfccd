"""Run a frozen part of a model as nothing but inference."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pkgutil import resolve_name
from typing import Any, TypeVar

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # no public name

from tlkeras.config.train import TrainingOptions
from tlkeras.models.inlining import inlined

OptionsT = TypeVar("OptionsT", bound=TrainingOptions)

BATCH_SIZE = 32  # of the feature pass

Engine = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def choose_engine(model: keras.Model, options: OptionsT, images: int) -> OptionsT:
    """Return the options with the engine that is to compute features of so many images, each view counted.

    "auto" becomes the one that is faster for so many.
    """
    if options.engine != "auto":
        return options
    # [part: openvino]
    from tlkeras.features.openvino import pays

    if not getattr(options, "cluster", None) and pays(model, images):
        return replace(options, engine="openvino")
    # [/part]
    return replace(options, engine="tensorflow")


def make_engine(model: keras.Model, name: str) -> Engine:
    """Return a function from arrays for the inputs of a model to float32 arrays for its outputs.

    "tensorflow" is a frozen graph: the weights are constants, and TensorFlow folds BatchNormalization into the
    convolutions. Another name is the module beside this one that makes the engine, up to a "_".
    """

    @tf.function(input_signature=[tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs])
    def step(*inputs: tf.Tensor) -> list[tf.Tensor]:
        outputs = keras.tree.flatten(model(unwrap_single(inputs), training=False))
        return [tf.cast(output, "float32") for output in outputs]

    if name != "tensorflow":
        return resolve_name(f"tlkeras.features.{name.partition('_')[0]}:make_engine")(step, model, name)
    plain = trace(step)
    frozen = convert_variables_to_constants_v2(plain)
    run = frozen if len(frozen.inputs) == len(model.inputs) else plain  # a vocabulary cannot become a constant
    return lambda inputs: [output.numpy() for output in run(*map(tf.convert_to_tensor, inputs))]


def trace(function: Any) -> Any:
    """Return the graph of a `tf.function` with an input signature, with all functions in it inlined."""
    with inlined():
        return function.get_concrete_function()


def unwrap_single(parts: Sequence) -> Any:
    """Return inputs as the models of `split_model` take them: a tuple only where there are several."""
    return tuple(parts) if len(parts) > 1 else parts[0]
