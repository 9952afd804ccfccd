"""LiteRT, for phones and small computers: built-in operators only."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.errors import UserError, first_sentence
from tlkeras.export.artifact import ArtifactInfo, Session, load_artifact

if TYPE_CHECKING:
    from tlkeras.export.inference import InferenceModel

MODEL = "model.tflite"


def convert(model: "InferenceModel", folder: Path, info: ArtifactInfo, variant: str, sample: np.ndarray | None) -> None:
    """Write a model; refuse one that needs other than built-in operators."""
    import tensorflow as tf

    from tlkeras.export.inference import freeze

    with tempfile.TemporaryDirectory() as temporary:
        tf.saved_model.save(tf.Module(), temporary, signatures={"serving_default": freeze(model, model.raw)})
        converter = tf.lite.TFLiteConverter.from_saved_model(temporary, signature_keys=["serving_default"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if variant != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if variant == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            content = converter.convert()
        except Exception as error:
            raise UserError(f"LiteRT cannot hold this model: {first_sentence(error)}. Export to saved-model.") from None
    (folder / MODEL).write_bytes(content)


def open_session(folder: Path) -> Session:
    """Return what runs the model with LiteRT, without TensorFlow, on as many threads as there are cores."""
    outputs = list(load_artifact(folder).outputs)
    runner = open_interpreter(folder).get_signature_runner()
    (name,) = runner.get_input_details()

    def run(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        found = runner(**{name: inputs})
        values = [found[output] for output in outputs]
        return values[0], values[1] if len(values) > 1 else None

    return run


def open_interpreter(folder: Path):
    """Return the interpreter of a model."""
    from ai_edge_litert.interpreter import Interpreter

    from tlkeras.data.loading import available_cores

    return Interpreter(str(folder / MODEL), num_threads=available_cores())


def operators(folder: Path) -> list[str]:
    """Return the names of the operators of the graph."""
    return sorted({one["op_name"] for one in open_interpreter(folder)._get_ops_details()} - {"DELEGATE"})
