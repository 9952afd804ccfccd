"""SavedModel, which TensorFlow Serving takes as it is."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.export.artifact import ArtifactInfo, Session, load_artifact

if TYPE_CHECKING:
    from tlkeras.export.inference import InferenceModel

VERSION = "1"  # folder of a version, as TensorFlow Serving wants it


def convert(model: "InferenceModel", folder: Path, info: ArtifactInfo, variant: str, sample: np.ndarray | None) -> None:
    """Write a model with the signature "serving_default"."""
    import tensorflow as tf

    from tlkeras.export.inference import freeze

    function = freeze(model, model.raw)
    holder = model if function.get_concrete_function().captured_inputs else tf.Module()  # of variables and vocabularies
    tf.saved_model.save(holder, str(folder / VERSION), signatures={"serving_default": function})


def open_session(folder: Path) -> Session:
    """Return what runs the model with TensorFlow."""
    from tlkeras.runtime import load_tensorflow

    load_tensorflow()
    import tensorflow as tf

    outputs = list(load_artifact(folder).outputs)
    loaded = tf.saved_model.load(str(folder / VERSION))
    (name,) = loaded.signatures["serving_default"].structured_input_signature[1]

    def run(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        found = loaded.signatures["serving_default"](**{name: tf.convert_to_tensor(inputs)})
        values = [found[output].numpy() for output in outputs]
        return values[0], values[1] if len(values) > 1 else None

    return run


def operators(folder: Path) -> list[str]:
    """Return the names of the operators of the graph."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = SavedModel.FromString((folder / VERSION / "saved_model.pb").read_bytes())
    functions = content.meta_graphs[0].graph_def.library.function
    return sorted({node.op for function in functions for node in function.node_def})
