"""L2-SP (Li et al. 2018, arXiv:1802.01483): a penalty on the distance of unfrozen weights from the pretrained ones."""

from typing import Any

import keras
from keras import ops

from tlkeras.models.introspect import get_backbone
from tlkeras.models.keras_private import variable_index
from tlkeras.training.optimizers import StagewiseLearningRate


class L2SP(keras.optimizers.Optimizer):
    """Mixin for a Keras optimizer: the gradient of `strength / 2 * |w - start|**2`.

    It is no part of the reported loss, so that the validation loss of phase 2 can be compared with that of phase 1.
    """

    starts: dict[str, Any]  # by the path of a variable
    strength: float

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._starts = [self.starts.get(variable.path) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        start = self._starts[variable_index(self, variable)]
        if start is not None:
            gradient = gradient + self.strength * (variable - start)
        super().update_step(gradient, variable, learning_rate)


def l2_sp(kind: type[StagewiseLearningRate], model: keras.Model, strength: float) -> type[StagewiseLearningRate]:
    """Return a kind of optimizer that pulls what is unfrozen in the backbone back to what it is now."""
    starts = {weight.path: ops.copy(weight) for weight in get_backbone(model).trainable_weights}
    return type(f"L2SP{kind.__name__}", (L2SP, kind), {"starts": starts, "strength": strength})
