"""SavedModel, which TensorFlow Serving takes as it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.export.artifact import ArtifactInfo, Session, load_artifact

if TYPE_CHECKING:
    import tensorflow as tf

    from tlkeras.export.inference import InferenceModel

VERSION = "1"  # folder of a version, as TensorFlow Serving wants it
EXTRA = "assets.extra"  # what the format sets apart for files that are not part of the graph


def convert(model: "InferenceModel", folder: Path, info: ArtifactInfo, variant: str, sample: np.ndarray | None) -> None:
    """Write a model with a signature for raw examples, one for encoded images, and one that gives features too."""
    import tensorflow as tf

    from tlkeras.export.inference import freeze

    body = freeze(model.from_decoded, model.decoded)  # once in the file, for all signatures
    signatures = make_signatures(model, body, info)
    holder = model if body.get_concrete_function().captured_inputs else tf.Module()  # of what cannot be frozen
    save_frozen(holder, folder / VERSION, signatures)
    (folder / VERSION / EXTRA).mkdir()
    info.save(folder / VERSION / EXTRA)


def save_frozen(holder: Any, folder: Path, signatures: dict[str, Any]) -> None:
    """Write a SavedModel without gradients: TensorFlow cannot write those of a frozen swish, as EfficientNet has it."""
    import tensorflow as tf

    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    tf.saved_model.save(holder, str(folder), signatures=signatures, options=options)


def make_signatures(model: "InferenceModel", body: Any, info: ArtifactInfo) -> dict[str, Any]:
    """Return the signatures by their names."""
    import tensorflow as tf

    from tlkeras.export.encoded import decode

    def features(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return body(model.decode_raw(inputs))

    def raw(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return with_labels(features(inputs), info)

    def encoded(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        square = model.decoded.shape[1:]
        images = tf.map_fn(
            lambda content: tf.ensure_shape(model.decode_raw(decode(content, info.gray_range)[None])[0], square),
            image_bytes,
            fn_output_signature=tf.TensorSpec(square, "float32"),
        )
        return with_labels(body(images), info)

    found: dict[str, tuple[Any, Any]] = {"serving_default": (raw, model.raw), "features": (features, model.raw)}
    if model.is_image:
        found["encoded"] = (encoded, tf.TensorSpec((None,), "string", "image_bytes"))
    return {name: tf.function(call, [taken], autograph=False) for name, (call, taken) in found.items()}


def with_labels(outputs: dict[str, "tf.Tensor"], info: ArtifactInfo) -> dict[str, "tf.Tensor"]:
    """Return outputs with their labels `(B, K)`, where there is one for each also the most likely one `(B,)`."""
    import tensorflow as tf

    found = {name: output for name, output in outputs.items() if name != "features"}
    if info.labels:
        labels, probabilities = tf.constant(info.labels), found["probabilities"]
        found["labels"] = tf.tile(labels[None], [tf.shape(probabilities)[0], 1])
        if info.task == "single_label":
            found["label"] = tf.gather(labels, tf.argmax(probabilities, axis=1))
    return found


def open_session(folder: Path) -> Session:
    """Return what runs the model with TensorFlow."""
    from tlkeras.runtime import load_tensorflow

    load_tensorflow()
    import tensorflow as tf

    outputs = list(load_artifact(folder).outputs)
    loaded = tf.saved_model.load(str(folder / VERSION))
    call = loaded.signatures["features"]
    (name,) = call.structured_input_signature[1]

    def run(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        found = call(**{name: tf.convert_to_tensor(inputs)})
        values = [found[output].numpy() for output in outputs]
        return values[0], values[1] if len(values) > 1 else None

    return run


def operators(folder: Path) -> list[str]:
    """Return the names of the operators of the graph."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    content = SavedModel.FromString((folder / VERSION / "saved_model.pb").read_bytes())
    functions = content.meta_graphs[0].graph_def.library.function
    return sorted({node.op for function in functions for node in function.node_def})
