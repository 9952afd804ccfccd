"""What can be read off a model that `build_classifier` made, or off one that was loaded from its file."""

import keras

from tlkeras.backbones.registry import get_application_spec, get_provider
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.config.fields import Resize, Task
from tlkeras.errors import UserError
from tlkeras.modalities.base import Modality, get_modality
from tlkeras.models.inlining import inline_convolutions
from tlkeras.models.own_backbone import describe

ACTIVATIONS: dict[Task, str] = {"single_label": "softmax", "multi_label": "sigmoid", "regression": "linear"}


def get_backbone(model: keras.Model) -> keras.Model:
    """Return the nested backbone of a model.

    Args:
        model: the whole model.

    Returns:
        The backbone, which shares the model's weights: scaled pixels `(B, S, S, 3)` to features `(B, h, w, C)`.

    Raises:
        UserError: the model has none.

    Example:
        >>> backbone = tlkeras.get_backbone(model)
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            return layer
    raise UserError(f"The model {model.name} has no backbone inside; build it with tlkeras.build_classifier.")


def backbone_name(model: keras.Model) -> str:
    """Return the backbone's name: of the table, or with its prefix where it came from an extra."""
    backbone = get_backbone(model)
    layers = [*model.layers, *backbone.layers]  # of an extra: in front of the backbone, or inside
    return next((layer.source for layer in layers if hasattr(layer, "source")), backbone.name)


def get_spec(model: keras.Model) -> BackboneSpec:
    """Return the spec of the backbone that a model was built from, or one like it."""
    prefix, colon, _ = backbone_name(model).partition(":")
    if colon:
        return get_provider(prefix).spec_of(get_backbone(model))
    return get_application_spec(prefix) if prefix in BACKBONES else describe(get_backbone(model))


def default_unfreeze(model: keras.Model) -> str:
    """Return what phase 2 unfreezes by default, for images of the size that the model takes."""
    shape = decoded_input(model).shape
    return get_spec(model).default_unfreeze(shape[1] if len(shape) == 4 else None)


def get_task(model: keras.Model) -> Task:
    """Return what the outputs of a model mean, read from its last layers."""
    if not isinstance(model, keras.Model) or "output" not in [layer.name for layer in model.layers]:
        kind = "a Keras model without a layer 'output'" if isinstance(model, keras.Model) else repr(model)
        raise UserError(f"The model is {kind}. Build one with tlkeras.build_classifier(backbone, data).")
    activation = keras.activations.serialize(model.get_layer("output").activation)
    return next(task for task, name in ACTIVATIONS.items() if name == activation)


def model_modality(model: keras.Model) -> type[Modality]:
    """Return what a model takes, read from the name of its input layer."""
    return get_modality(model.layers[0].name)


def decoded_input(model: keras.Model) -> keras.KerasTensor:
    """Return the tensor that takes decoded examples: images `(B, S, S, 3)` after resizing; else the model's input."""
    names = [layer.name for layer in model.layers]
    return model.get_layer("resize").output if "resize" in names else model.input


def resize_mode(model: keras.Model) -> Resize:
    """Return how a model makes images square; of other data, which it takes decoded, it says nothing."""
    layer = next((layer for layer in model.layers if layer.name == "resize"), None)
    if layer is None or layer.crop_to_aspect_ratio:
        return "crop"
    return "pad" if layer.pad_to_aspect_ratio else "squash"


def without_resizing(model: keras.Model) -> keras.Model:
    """Return a model from decoded examples to outputs, as training images already have the right size."""
    return keras.Model(decoded_input(model), model.output, name=model.name)


def num_features(model: keras.Model) -> int:
    """Return the width of the pooled features of a model; 0 where it has no layer of that name."""
    names = [layer.name for layer in model.layers]
    return model.get_layer("pool").output.shape[-1] if "pool" in names else 0


def with_features(model: keras.Model) -> keras.Model:
    """Return a model that gives the outputs `(B, K)` and beside them the pooled features, float32 `(B, K + C)`."""
    both = [model.output, model.get_layer("pool").output]
    return inline_convolutions(keras.Model(model.input, keras.layers.Concatenate(dtype="float32", name="both")(both)))


def backbone_title(model: keras.Model) -> str:
    """Return the backbone's name and, for images, its size."""
    shape = decoded_input(model).shape
    return f"{backbone_name(model)} at {shape[1]} px" if len(shape) == 4 else backbone_name(model)
