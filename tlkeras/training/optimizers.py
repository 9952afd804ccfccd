"""Optimizers that give each stage its own rate, and the schedule of a phase."""

import keras
from keras import ops

from tlkeras.config import TrainingOptions
from tlkeras.models.freezing import get_backbone, get_spec


class StagewiseLearningRate:
    """Mixin for a Keras optimizer: a factor on the rate of single variables, and decoupled weight decay.

    Keras has one rate for all variables, and its own weight decay ignores any factor on it. Weight decay follows
    Loshchilov and Hutter 2019 (arXiv:1711.05101) and leaves biases and normalisation alone.
    """

    def __init__(self, *args, factors: dict[str, float], decay: float, **kwargs) -> None:
        """As the optimizer's own, and `factors` by the path of a variable (1 where absent), and the weight decay."""
        super().__init__(*args, **kwargs)
        self._factors_by_path, self._decay = factors, decay

    def build(self, variables: list[keras.Variable]) -> None:
        super().build(variables)
        self._factors = [self._factors_by_path.get(variable.path, 1.0) for variable in variables]

    def update_step(self, gradient, variable, learning_rate) -> None:
        # TensorFlow's own variable arrives here, which does not know its path: hence the index.
        rate = ops.cast(learning_rate, variable.dtype) * self._factors[self._get_variable_index(variable)]
        if self._decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * rate * self._decay)
        super().update_step(gradient, variable, rate)


class StagedAdam(StagewiseLearningRate, keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015, arXiv:1412.6980); with `decay` it is AdamW."""


class StagedSGD(StagewiseLearningRate, keras.optimizers.SGD):
    """Stochastic gradient descent with momentum."""


def make_optimizer(model: keras.Model, options: TrainingOptions, rate: float, steps: int) -> keras.Optimizer:
    """A fresh optimizer for one phase.

    Args:
        model: a model from `build_classifier`, its trainable layers already set.
        options: which optimizer, schedule, decay and factor for each stage.
        rate: the greatest learning rate.
        steps: steps of the phase, over which the schedule runs.
    """
    schedule = make_schedule(rate, steps, options.warmup, level=options.schedule == "constant")
    factors = lr_scales(model, options.layer_decay)
    if options.optimizer == "sgd":
        optimizer = StagedSGD(schedule, momentum=0.9, nesterov=True, factors=factors, decay=options.weight_decay)
    else:
        decay = options.weight_decay if options.optimizer == "adamw" else 0.0
        optimizer = StagedAdam(schedule, factors=factors, decay=decay)
    return loss_scaled(model, optimizer)


def loss_scaled(model: keras.Model, optimizer: keras.Optimizer) -> keras.Optimizer:
    """The optimizer, with its loss scaled where the backbone computes in float16 and gradients would become zero."""
    if any(layer.compute_dtype == "float16" for layer in get_backbone(model).layers):
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def make_schedule(
    rate: float, steps: int, warmup: float, level: bool = False
) -> keras.optimizers.schedules.LearningRateSchedule:
    """A climb from zero over a share of the steps, then half a cosine down to zero (arXiv:1608.03983), or level.

    Args:
        rate: the greatest rate.
        steps: of the whole schedule.
        warmup: share of the steps in which the rate climbs.
        level: stay at the greatest rate after the climb.
    """
    climb = min(round(warmup * steps), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if climb else rate,
        decay_steps=steps - climb,
        alpha=1.0 if level else 0.0,
        warmup_target=rate if climb else None,
        warmup_steps=climb,
    )


def lr_scales(model: keras.Model, layer_decay: float) -> dict[str, float]:
    """Factor on the rate of each learning weight of the backbone: `stage_decay ** (count of stages above it)`.

    Lower rates for earlier stages are Howard and Ruder's discriminative fine-tuning (2018, arXiv:1801.06146).
    """
    backbone, stages = get_backbone(model), get_spec(model).stages
    names = [layer.name for layer in backbone.layers]
    starts = [names.index(stage.layer) + stage.after for stage in stages]
    factors = {}
    for index, layer in enumerate(backbone.layers):
        above = sum(start > index for start in starts)
        for variable in layer.trainable_weights:
            factors[variable.path] = layer_decay**above
    return factors
