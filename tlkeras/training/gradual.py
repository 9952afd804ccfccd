"""Gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146): phase 2 starts with the top stage, others follow."""

from typing import Any

import keras
from keras import ops

from tlkeras.models.keras_private import variable_index
from tlkeras.training.optimizers import StagewiseLearningRate, stages_above


class GradualUnfreezing(keras.optimizers.Optimizer):
    """Mixin for a Keras optimizer: a learning rate of zero, which leaves a variable as it is, until a given step."""

    opens_at: dict[str, float]  # by the path of a variable; others are trained from the start

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._opens = [self.opens_at.get(variable.path, 0.0) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        opens = self._opens[variable_index(self, variable)]
        closed = ops.cast(self.iterations, "float32") < opens
        super().update_step(gradient, variable, ops.where(closed, 0.0, learning_rate))


def gradual(kind: type[StagewiseLearningRate], model: keras.Model, steps: int) -> type[StagewiseLearningRate]:
    """Return a kind of optimizer that opens one stage of the backbone after the other, all in half of the steps."""
    stages = stages_above(model)
    order = sorted(set(stages.values()))
    opens_at = {path: order.index(stage) / len(order) * steps / 2 for path, stage in stages.items()}
    return type(f"Gradual{kind.__name__}", (GradualUnfreezing, kind), {"opens_at": opens_at})
