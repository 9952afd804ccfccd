"""Run a frozen part of a model as nothing but inference."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # no public name

BATCH_SIZE = 32  # of the feature pass

Engine = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


def make_engine(model: keras.Model, name: str) -> Engine:
    """Return a function from arrays for the inputs of a model to float32 arrays for its outputs.

    Args:
        model: any Keras model; its weights as they are now become constants.
        name: "tensorflow": a frozen graph, in which TensorFlow folds what is constant, BatchNormalization into the
            convolutions among it. "openvino" and "openvino_bf16": OpenVINO in float32 and in bfloat16.
    """

    @tf.function(input_signature=[tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in model.inputs])
    def step(*inputs: tf.Tensor) -> list[tf.Tensor]:
        outputs = keras.tree.flatten(model(unwrap_single(inputs), training=False))
        return [tf.cast(output, "float32") for output in outputs]

    if name != "tensorflow":
        return openvino_engine(step, model, "bf16" if name == "openvino_bf16" else "f32")
    plain = step.get_concrete_function()
    frozen = convert_variables_to_constants_v2(plain)
    run = frozen if len(frozen.inputs) == len(model.inputs) else plain  # a vocabulary cannot become a constant
    return lambda inputs: [output.numpy() for output in run(*map(tf.convert_to_tensor, inputs))]


def openvino_engine(step: Any, model: keras.Model, precision: str) -> Engine:
    """Do the same by OpenVINO, which has faster kernels for Intel's and AMD's processors."""
    import openvino

    converted = openvino.convert_model(step.get_concrete_function())
    converted.reshape({index: [BATCH_SIZE, *tensor.shape[1:]] for index, tensor in enumerate(model.inputs)})
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        count = len(inputs[0])
        full = [np.resize(part, (BATCH_SIZE, *part.shape[1:])) if count < BATCH_SIZE else part for part in inputs]
        outputs = compiled([np.asarray(part, "float32") for part in full])
        return [outputs[index][:count] for index in range(len(outputs))]

    return run


def unwrap_single(parts: Sequence) -> Any:
    """Return inputs as the models of `tlkeras.features.split_model` take them: a tuple only where there are several."""
    return tuple(parts) if len(parts) > 1 else parts[0]
