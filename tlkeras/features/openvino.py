"""OpenVINO as an engine, which has faster kernels for Intel's and AMD's processors."""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkeras.backbones.registry import BACKBONES
from tlkeras.features.engines import BATCH_SIZE, Engine, trace
from tlkeras.models.introspect import get_backbone, get_spec

WORTH = 1000  # images; MobileNetV2 needs some 700 to make up for the longer start (benchmarks/engines.py)


def pays(model: keras.Model, images: int) -> bool:
    """Return whether OpenVINO is there, and faster than TensorFlow on what this machine has.

    So many images, each view counted, are to be computed in float32 by a backbone of the table.
    """
    if images < WORTH or tf.config.list_physical_devices("GPU"):
        return False
    try:
        import openvino  # noqa: F401
    except (ImportError, OSError):  # it is not installed, or lacks a library
        return False
    return get_spec(model).name in BACKBONES and get_backbone(model).output.dtype == "float32"


def make_engine(step: Any, model: keras.Model, name: str) -> Engine:
    """Return the engine of a model that is given as a `tf.function` too; "openvino_bf16" computes in bfloat16."""
    import openvino

    precision = "bf16" if name.endswith("_bf16") else "f32"
    with contextlib.redirect_stdout(io.StringIO()):  # it takes our --verbose for its own, and prints pages
        converted = openvino.convert_model(trace(step))
    converted.reshape({index: [BATCH_SIZE, *tensor.shape[1:]] for index, tensor in enumerate(model.inputs)})
    compiled = openvino.Core().compile_model(converted, "CPU", {"INFERENCE_PRECISION_HINT": precision})

    def run(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        count = len(inputs[0])
        full = [np.resize(part, (BATCH_SIZE, *part.shape[1:])) if count < BATCH_SIZE else part for part in inputs]
        outputs = compiled([np.asarray(part, "float32") for part in full])
        return [outputs[index][:count] for index in range(len(outputs))]

    return run
