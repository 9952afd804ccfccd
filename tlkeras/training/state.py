"""The state of a training: all that a step changes, which a stopped training needs to resume bit for bit."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tlkeras.models.keras_private import flatten_layers
from tlkeras.training.checkpoint import Checkpoints


def training_state(part: keras.Model) -> list[keras.Variable]:
    """Return all that a training step of a compiled model changes, frozen weights aside.

    These are weights, the moving statistics that are updated, the states of random layers, and what the optimizer
    keeps. The optimizer is built by this.
    """
    if not part.optimizer.built:
        part.optimizer.build(part.trainable_variables)
    statistics = {
        id(weight)
        for layer in flatten_layers(part)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for weight in layer.non_trainable_weights
    }
    states = [variable for variable in part.non_trainable_variables
              if id(variable) in statistics or variable.name == "seed_generator_state"]  # fmt: skip
    return [*part.trainable_variables, *states, *part.optimizer.variables]


def to_numpy(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Return copies of what variables hold."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign_all(variables: Sequence[keras.Variable], arrays: Sequence[np.ndarray]) -> None:
    """Assign an array to each variable, the opposite of `to_numpy`."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


class EpochCheckpoint(keras.callbacks.Callback):
    """Write a checkpoint after each epoch; it must come after the callbacks whose state goes into it."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        arrays: Callable[[], dict[str, list[np.ndarray]]],
        state: Callable[[], dict[str, Any]],
    ) -> None:
        """Take where they are written, and two functions that return what goes into one."""
        super().__init__()
        self._checkpoints, self._arrays, self._state = checkpoints, arrays, state

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._checkpoints.write(epoch + 1, self._arrays(), self._state())
