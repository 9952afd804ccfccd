"""What learns and what does not: one function changes it, one object proves it."""

import hashlib
from dataclasses import dataclass

import keras
import numpy as np

from tlkeras.backbones import HUB, Backbone, get_backbone_spec
from tlkeras.errors import UserError
from tlkeras.extras.kerashub.presets import LAYER, NESTED, encoder_spec
from tlkeras.backbones.unfreeze import parse_unfreeze


def get_backbone(model: keras.Model) -> keras.Model:
    """The nested backbone of a model that `build_classifier` made, or of one loaded from its file.

    Args:
        model: the whole model.

    Returns:
        The backbone, which shares the model's weights: scaled pixels `(B, S, S, 3)` to features `(B, h, w, C)`.

    Raises:
        UserError: the model has none.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            return layer
    raise UserError(f"The model {model.name} has no backbone inside; build it with tlkeras.build_classifier.")


def backbone_name(model: keras.Model) -> str:
    """The backbone's name for people: of the table, or where a hub module came from."""
    backbone = get_backbone(model)
    layers = [*model.layers, *backbone.layers]  # a tokenizer stands in front of the backbone, a module inside
    return next((layer.source for layer in layers if hasattr(layer, "source")), backbone.name)


def first_trainable_index(backbone: keras.Model, unfreeze: str | int | float) -> int:
    """Index into `backbone.layers` from which the layers learn; 0 where nothing is to compute below.

    Args:
        backbone: the nested backbone.
        unfreeze: a stage's name (that stage and all above it), a number of layers counted from the top (`30` or
            "30"), a share of the layers (`0.3` or "30%"), "all" or "none".

    Raises:
        UserError: for anything else, with the stages that are known.
    """
    count, wanted = len(backbone.layers), parse_unfreeze(spec_of_backbone(backbone), unfreeze)
    if wanted.stage:
        first = [layer.name for layer in backbone.layers].index(wanted.stage.layer) + wanted.stage.after
    elif wanted.share is not None:
        first = count - round(wanted.share * count)
    elif wanted.layers > count:
        raise UserError(f"--unfreeze was {unfreeze}; {backbone.name} has {count} layers, so give 0 to {count}.")
    else:
        first = count - wanted.layers
    return 0 if backbone.name in (HUB.name, NESTED) and first == 1 else first


@dataclass(frozen=True)
class ParameterCount:
    """How much of a model learns, in single weights.

    Attributes:
        trainable: those that learn.
        total: all of them.
    """

    trainable: int
    total: int

    def __str__(self) -> str:
        return f"{self.trainable:,} of {self.total:,} weights learn"


def set_trainable(model: keras.Model, unfreeze: str | int | float) -> ParameterCount:
    """Unfreeze the top of the backbone, freeze the rest of it, and compile the model again if it was compiled.

    BatchNormalization layers of the backbone stay frozen whatever is asked for: only `trainable = False` on each of
    them keeps its moving statistics still under `fit` (keras issue 20285). The head always learns.

    Args:
        model: a model from `build_classifier`.
        unfreeze: see `first_unfrozen`.

    Returns:
        The count of weights that now learn.
    """
    backbone = get_backbone(model)
    first = first_trainable_index(backbone, unfreeze)
    backbone.trainable = first < len(backbone.layers)
    for index, layer in enumerate(backbone.layers):
        for one in layer._flatten_layers():  # Keras hands nothing down where the value stays the same
            one.trainable = index >= first
    for layer in backbone._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    if model.compiled:
        model.compile_from_config(model.get_compile_config())
    return ParameterCount(trainable=count_params(model.trainable_weights), total=count_params(model.weights))


def count_params(variables: list[keras.Variable]) -> int:
    """Single numbers in a list of variables."""
    return sum(int(np.prod(variable.shape)) for variable in variables)


class FrozenWeights:
    """A fingerprint of everything in the backbone that must not move, moving statistics included."""

    def __init__(self, model: keras.Model) -> None:
        backbone = get_backbone(model)
        learning = {id(variable) for variable in backbone.trainable_weights}
        self._frozen = [variable for variable in backbone.weights if id(variable) not in learning]
        self._fingerprints = [fingerprint(variable) for variable in self._frozen]

    def digest(self) -> str:
        """One digest of all of them."""
        return hashlib.blake2b(b"".join(self._fingerprints), digest_size=16).hexdigest()

    def check(self) -> None:
        """Compare with now.

        Raises:
            RuntimeError: when a single bit of a frozen weight has changed: the run must not go on.
        """
        pairs = zip(self._frozen, self._fingerprints, strict=True)
        moved = [variable.path for variable, before in pairs if fingerprint(variable) != before]
        if moved:
            raise RuntimeError(
                f"{len(moved)} frozen weights of the backbone changed during training, first {moved[0]}. "
                "The run is stopped because its result would not be what its options say."
            )


def fingerprint(variable: keras.Variable) -> bytes:
    """A digest of a variable's exact bits."""
    return hashlib.blake2b(
        np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes(), digest_size=16
    ).digest()


def get_spec(model: keras.Model) -> Backbone:
    """The row of the backbone table that a model was built from, or one like it."""
    return spec_of_backbone(get_backbone(model))


def spec_of_backbone(backbone: keras.Model) -> Backbone:
    """The same of the nested backbone; an encoder's stages are read off its layers."""
    if backbone.name != NESTED:
        return get_backbone_spec(backbone.name)
    names = [layer.name for layer in backbone.layers]
    return encoder_spec(NESTED, names[1], sum(name.startswith(LAYER) for name in names))
