"""What is trainable: one function changes it, one object proves that the rest did not move."""

from dataclasses import dataclass

import keras
import numpy as np

from tlkeras.backbones.spec import Stage
from tlkeras.backbones.unfreeze import parse_unfreeze
from tlkeras.errors import UserError
from tlkeras.io.hashing import array_digest, stream_hash
from tlkeras.models.introspect import get_backbone, get_spec
from tlkeras.models.keras_private import flatten_layers


def first_trainable_index(model: keras.Model, unfreeze: str | int | float) -> int:
    """Return the index into the backbone's layers from which they are trainable, see `set_trainable`."""
    backbone = get_backbone(model)
    count, wanted = len(backbone.layers), parse_unfreeze(get_spec(model), unfreeze)
    if isinstance(wanted, Stage):
        return [layer.name for layer in backbone.layers].index(wanted.first_layer) + wanted.after
    layers = round(wanted * count) if isinstance(wanted, float) else wanted
    if layers > count:
        raise UserError(f"--unfreeze was {unfreeze}; {backbone.name} has {count} layers, so give 0 to {count}.")
    return count - layers


@dataclass(frozen=True)
class ParameterCount:
    """How many parameters of a model are trainable, and how many there are."""

    trainable: int
    total: int

    def __str__(self) -> str:
        percent = 100 * self.trainable / self.total
        return f"{self.trainable:,} of {self.total:,} parameters are trainable ({percent:.1f}%)"


def set_trainable(model: keras.Model, unfreeze: str | int | float, *, batch_norm: bool = False) -> ParameterCount:
    """Unfreeze the top of the backbone, freeze the rest of it, and compile the model again if it was compiled.

    BatchNormalization layers of the backbone stay frozen unless `batch_norm` says otherwise, as their moving statistics
    would lag behind those of small batches: only `trainable = False` on each of them keeps its moving statistics
    unchanged under `fit` (keras issue 20285). The head is always trainable.

    Args:
        model: a model from `build_classifier`.
        unfreeze: a stage's name (that stage and all after it), a number of layers counted from the output (`30` or
            "30"), a fraction of the layers (`0.3` or "30%"), "all" or "none".
        batch_norm: unfreeze BatchNormalization layers, too: their statistics then move with each training step.

    Returns:
        The count of parameters that are now trainable.

    Raises:
        UserError: the backbone has no such stage, or not so many layers.

    Example:
        >>> print(tlkeras.set_trainable(model, "block_13"))
    """
    # [part: fine-tuning]
    from tlkeras.models.lora import merge_lora

    merge_lora(model)
    # [/part]
    backbone = get_backbone(model)
    first = first_trainable_index(model, unfreeze)
    backbone.trainable = first < len(backbone.layers)
    for index, layer in enumerate(backbone.layers):
        for part in flatten_layers(layer):  # Keras hands nothing down where the value stays the same
            part.trainable = index >= first and (batch_norm or not isinstance(part, keras.layers.BatchNormalization))
    if model.compiled:
        model.compile_from_config(model.get_compile_config())
    return ParameterCount(trainable=count_params(model.trainable_weights), total=count_params(model.weights))


def count_params(variables: list[keras.Variable]) -> int:
    """Return the number of single parameters in a list of variables."""
    return sum(int(np.prod(variable.shape)) for variable in variables)


def changing_weights(model: keras.Model) -> list[keras.Variable]:
    """Return the weights that training may change: trainable ones, and moving statistics of layers that are."""
    frozen = {id(weight) for layer in flatten_layers(model) if not layer.trainable for weight in layer.weights}
    return [weight for weight in model.weights if id(weight) not in frozen]


class FrozenWeights:
    """The hashes of everything in the backbone that must not move, moving statistics included."""

    def __init__(self, model: keras.Model) -> None:
        backbone = get_backbone(model)
        layers = [layer for layer in flatten_layers(backbone) if isinstance(layer, keras.layers.BatchNormalization)]
        moving = {id(variable) for layer in layers if layer.trainable for variable in layer.weights}
        changing = moving | {id(variable) for variable in backbone.trainable_weights}
        self._frozen = [variable for variable in backbone.weights if id(variable) not in changing]
        self._before = self._hashes()

    def digest(self) -> str:
        """Return one hash of all of them."""
        return stream_hash(self._before)

    def check(self) -> None:
        """Raise a RuntimeError where a single bit of a frozen weight has changed: the run must not continue."""
        pairs = zip(self._frozen, self._before, self._hashes(), strict=True)
        moved = [variable.path for variable, before, now in pairs if before != now]
        if moved:
            raise RuntimeError(
                f"{len(moved)} frozen weights of the backbone changed during training, first {moved[0]}. "
                "The run is stopped because its result would not be what its options say."
            )

    def _hashes(self) -> list[str]:
        return [array_digest([variable]) for variable in self._frozen]
