"""The lower part of a model on a TensorFlow Hub module: its input and the module, frozen."""

import logging

import keras

from tlkeras.backbones.spec import check_image_size
from tlkeras.extras.hub.layer import HubModule
from tlkeras.extras.hub.spec import INPUT, MODEL_NAME, STAGE, HubSpec
from tlkeras.models.backbone import preprocess_input, resized_input

log = logging.getLogger("tlkeras")


def build_inputs_and_features(
    spec: HubSpec, *, weights: str, image_size: int | None, precision: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build the lower part of a model: for images resizing, scaling and the module; for text and audio the module.

    Args:
        spec: resolved.
        weights: "module".
        image_size: in pixels; None is the module's own.
        precision: of the other layers; a module always computes in float32.

    Returns:
        Pixels `(B, H, W, 3)`, 0–255, texts `(B,)`, or audio `(B, samples)`; and features, such as `(B, C)`.
    """
    if spec.modality == "image":
        size = check_image_size(spec, image_size)
        inputs, x = resized_input(size)
        return inputs, build_module(spec, (size, size, 3))(preprocess_input(x, spec.preprocess_mode))
    if spec.modality == "text":
        inputs = keras.Input((), dtype="string", name="text")
    else:
        inputs = keras.Input((spec.max_size,), name="audio")  # None where it takes any number of samples
    return inputs, build_module(spec, inputs.shape[1:])(inputs)


def build_module(spec: HubSpec, input_size: tuple[int | None, ...]) -> keras.Model:
    """Build a module alone: inputs `(B, *input_size)` to features; frozen, in inference mode."""
    inputs = keras.Input(input_size, name=INPUT, dtype="string" if spec.modality == "text" else "float32")
    module = HubModule(spec.folder, input_size, source=spec.name, name=STAGE)
    backbone = keras.Model(inputs, module(inputs), name=MODEL_NAME)
    size = f" at {input_size[0]} px" if spec.modality == "image" else ""
    log.info("Backbone: %s%s, weights of the module.", spec.name, size)
    backbone.trainable = False
    return backbone
