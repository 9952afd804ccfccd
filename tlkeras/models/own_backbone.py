"""A Keras model of one's own as a backbone: what it must be, and how it becomes part of a classifier."""

from typing import Any

import keras

from tlkeras.backbones.own import OwnModelSpec
from tlkeras.backbones.spec import check_image_size
from tlkeras.backbones.table import BACKBONES
from tlkeras.config.fields import Resize
from tlkeras.errors import UserError
from tlkeras.io.hashing import array_digest, json_hash
from tlkeras.models.backbone import resized_input
from tlkeras.models.keras_private import flatten_layers

DEFAULT_SIZE = 224  # pixels, where a model takes images of any size
FINETUNE_FROM = "25%"  # of the layers, as nothing tells its stages


def spec_from_model(model: Any) -> OwnModelSpec:
    """Return the spec of a model; refuse one that cannot be a backbone. Its layers are shared, not copied."""
    takes = "Give a name, or a functional or Sequential Keras model from RGB pixels (None, S, S, 3), 0–255, to features"
    takes += " (None, h, w, C) or (None, C)"
    if not isinstance(model, keras.Model):
        raise UserError(f"The backbone was {model!r}. {takes}.")
    try:
        name = model.name.replace(":", "_")
        (inputs,), (outputs,) = model.inputs, model.outputs
        own = keras.Model(inputs, outputs, name=f"{name}_own" if name in BACKBONES else name)
    except Exception:  # of many kinds: a model that is not built has neither, a subclass has no graph
        raise UserError(f"The backbone {model.name} needs one input and one output known to Keras. {takes}.") from None
    if inputs.shape[3:] != (3,) or inputs.shape[1] != inputs.shape[2] or len(outputs.shape) not in (2, 4):
        raise UserError(f"The backbone {model.name} goes from {inputs.shape} to {outputs.shape}. {takes}.")
    for layer in flatten_layers(own):
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # as in every backbone: frozen, it must give the same features for the same pixels
        elif any(isinstance(value, keras.random.SeedGenerator) for value in vars(layer).values()):
            raise UserError(f"The backbone {model.name} holds the random layer {layer.name}; give that as augment=.")
    described = json_hash([(weight.path, weight.shape) for weight in own.weights])
    return describe(own, array_digest(own.get_weights(), described))


def describe(model: keras.Model, digest: str | None = None) -> OwnModelSpec:
    """Return the spec of a model that can be a backbone."""
    size = model.inputs[0].shape[1]
    return OwnModelSpec(
        name=model.name, constructor="", preprocess_mode="inside", default_size=size or DEFAULT_SIZE,
        min_size=size or 1, max_size=size, num_features=model.outputs[0].shape[-1], num_params=model.count_params(),
        stages=(), finetune_from=FINETUNE_FROM, weights_url="", weights_hash=None, digest=digest, model=model,
        layers=tuple(layer.name for layer in model.layers),
    )  # fmt: skip


def build_inputs_and_features(
    spec: OwnModelSpec, *, weights: str, image_size: int | None, precision: str, resize: Resize
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build the lower part of an image model: resizing, and the model itself, frozen."""
    if precision != "float32":
        raise UserError(f"--precision was {precision}, but a model given as backbone= has its own; leave it out.")
    inputs, x = resized_input(check_image_size(spec, image_size), resize)
    spec.model.trainable = False
    return inputs, spec.model(x)
