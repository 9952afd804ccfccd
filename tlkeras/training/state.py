"""What a stopped training needs to go on as if nothing had happened: all that a step changes, after each epoch."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from tlkeras.training.checkpoint import Checkpoints


def training_state(part: keras.Model) -> list[keras.Variable]:
    """All that a training step of a compiled model changes, frozen weights aside.

    These are weights, the moving statistics that learn, the states of random layers, and what the optimizer keeps. The
    optimizer is built by this.
    """
    if not part.optimizer.built:
        part.optimizer.build(part.trainable_variables)
    statistics = {
        id(weight)
        for layer in part._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for weight in layer.non_trainable_weights
    }
    states = [variable for variable in part.non_trainable_variables
              if id(variable) in statistics or variable.name == "seed_generator_state"]  # fmt: skip
    return [*part.trainable_variables, *states, *part.optimizer.variables]


def to_numpy(variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Copies of what variables hold."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def assign_all(variables: Sequence[keras.Variable], arrays: Sequence[np.ndarray]) -> None:
    """The opposite of `values`."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign_all(array)


class EpochCheckpoint(keras.callbacks.Callback):
    """Write a checkpoint after each epoch; it must stand behind the callbacks whose work goes into it."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        arrays: Callable[[], dict[str, list[np.ndarray]]],
        state: Callable[[], dict[str, Any]],
    ) -> None:
        """Take where they go, and two functions that say what goes into one."""
        super().__init__()
        self._checkpoints, self._arrays, self._state = checkpoints, arrays, state

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._checkpoints.write(epoch + 1, self._arrays(), self._state())
