"""Optimizers with a learning rate for each stage, and the schedule of a phase."""

from typing import Any

import keras
from keras import ops

from tlkeras.config.train import TrainingOptions
from tlkeras.models.introspect import get_backbone, get_spec
from tlkeras.models.keras_private import variable_index


class StagewiseLearningRate(keras.optimizers.Optimizer):
    """Mixin for a Keras optimizer: a factor on the learning rate of single variables, and decoupled weight decay.

    Keras has one learning rate for all variables, and its own weight decay ignores any factor on it. Weight decay
    follows Loshchilov and Hutter 2019 (arXiv:1711.05101) and leaves biases and normalization alone.
    """

    def __init__(self, *args: Any, lr_scales: dict[str, float], decay: float, **kwargs: Any) -> None:
        """Take the optimizer's own arguments, factors by the path of a variable (1 where absent), and the decay."""
        super().__init__(*args, **kwargs)
        self._scales_by_path, self._decay = lr_scales, decay

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._scales = [self._scales_by_path.get(variable.path, 1.0) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        # TensorFlow's own variable arrives here, which does not know its path: hence the index.
        rate = ops.cast(learning_rate, variable.dtype) * self._scales[variable_index(self, variable)]
        if self._decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * rate * self._decay)
        super().update_step(gradient, variable, rate)


class StagedAdam(StagewiseLearningRate, keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); with `decay` it is AdamW."""


class StagedSGD(StagewiseLearningRate, keras.optimizers.SGD):
    """Stochastic gradient descent with momentum."""


def make_optimizer(
    model: keras.Model, options: TrainingOptions, schedule: keras.optimizers.schedules.LearningRateSchedule | float,
    steps: int = 0,
) -> keras.optimizers.Optimizer:  # fmt: skip
    """Return a new optimizer for one phase of so many steps of a model, whose trainable layers are set already."""
    assert options.layer_decay is not None  # see `TrainingOptions.with_defaults`
    kind: type[StagewiseLearningRate] = StagedAdam
    settings: dict[str, Any] = {"decay": 0.0 if options.optimizer == "adam" else options.weight_decay}
    if options.optimizer == "sgd":
        kind, settings = StagedSGD, settings | {"momentum": 0.9, "nesterov": True}
    # [part: fine-tuning]
    if options.gradual_unfreezing:
        from tlkeras.training.gradual import gradual

        kind = gradual(kind, model, steps)
    if options.l2_sp:
        from tlkeras.training.l2_sp import l2_sp

        kind = l2_sp(kind, model, options.l2_sp)
    # [/part]
    return loss_scaled(model, kind(schedule, lr_scales=lr_scales(model, options.layer_decay), **settings))


def loss_scaled(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    """Return the optimizer, with its loss scaled where the backbone computes in float16 and gradients would vanish."""
    if any(layer.compute_dtype == "float16" for layer in get_backbone(model).layers):
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def make_schedule(
    learning_rate: float, steps: int, warmup: float, constant: bool = False
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Return a rise from zero over a fraction of the steps (`warmup`) to the maximum, then half a cosine to zero.

    See Loshchilov and Hutter 2017, arXiv:1608.03983. With `constant` it stays at the maximum; without a rise that is a
    number, which callbacks may change.
    """
    rise = min(round(warmup * steps), steps - 1)
    if constant and not rise:
        return learning_rate
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if rise else learning_rate,
        decay_steps=steps - rise,
        alpha=1.0 if constant else 0.0,
        warmup_target=learning_rate if rise else None,
        warmup_steps=rise,
    )


def lr_scales(model: keras.Model, layer_decay: float) -> dict[str, float]:
    """Return the factor on the learning rate of each trainable weight of the backbone, by its path.

    It is `layer_decay ** (count of stages above)`. Lower learning rates for earlier stages are Howard and Ruder's
    discriminative fine-tuning (2018, arXiv:1801.06146).
    """
    return {path: layer_decay**count for path, count in stages_above(model).items()}


def stages_above(model: keras.Model) -> dict[str, int]:
    """Return how many stages are above each trainable weight of the backbone, by its path."""
    backbone, stages = get_backbone(model), get_spec(model).stages
    names = [layer.name for layer in backbone.layers]
    starts = [names.index(stage.first_layer) + stage.after for stage in stages]
    return {
        variable.path: sum(start > index for start in starts)
        for index, layer in enumerate(backbone.layers)
        for variable in layer.trainable_weights
    }
