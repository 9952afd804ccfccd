"""One call of `fit`: what it trains, on what, with which loss, and how it is compiled and shown."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from tlkeras.config.extensions import Extensions
from tlkeras.data.pipeline import steps_per_epoch
from tlkeras.features.engines import Engine
from tlkeras.features.extract import Features
from tlkeras.models.inlining import inline_convolutions
from tlkeras.models.introspect import get_task
from tlkeras.training.callbacks import EpochProgress, TerminateOnNaN
from tlkeras.training.checkpoint import training_state

# By the name of a phase.
TITLES = {"frozen": "Phase 1", "finetune": "Phase 2", "scratch": "Training"}
OPTIONS = {"frozen": "--head-learning-rate", "finetune": "--finetune-learning-rate", "scratch": "--learning-rate"}


@dataclass(frozen=True)
class Phase:
    """The epochs of one call of `fit`: what is trainable besides the head in it, and the maximum learning rate."""

    name: str  # one of `TITLES`
    unfreeze: str
    learning_rate: float
    first_epoch: int  # counted over both phases, from 0
    last_epoch: int  # not included
    batch_norm: bool = False  # whether BatchNormalization of the backbone is unfrozen, too


@dataclass(frozen=True)
class PhaseInputs:
    """The layers that run in a phase, and their inputs: every validation example once, or no validation."""

    part: keras.Model  # of the model's own layers, so training them trains the model
    training: Callable[..., tf.data.Dataset]  # batches of the epochs from `first_epoch` to `last_epoch`
    validation: tf.data.Dataset | None
    examples: int  # of the training split
    batch_size: int
    unit: str  # of the throughput, such as "img/s"
    engine: str = ""  # what computes features, where they are cached
    features: Features | None = None  # what the inputs are, if they were computed once, and those of validation
    validation_features: Features | None = None
    below: Engine | None = None  # what computed these, or would have: from examples
    above: keras.Model | None = None  # from these to pooled features, where they are not
    # [part: cluster]
    cluster: Any = None  # a `ClusterTraining`: where gradients are computed, if not here
    # [/part]

    @property
    def steps(self) -> int:
        """Return the steps of an epoch."""
        return steps_per_epoch(self.examples, self.batch_size)


def loss_and_metrics(model: keras.Model, label_smoothing: float, given: Extensions) -> dict[str, Any]:
    """Return loss and metrics, those that were given and those of a model's task, as arguments of `compile`."""
    arguments = task_loss_and_metrics(model, label_smoothing)
    for metric in given.metrics:  # `fit` does not do it before the first epoch of a later phase
        metric.reset_state()
    if given.loss is not None:
        arguments |= {"loss": given.loss, "loss_weights": None}
    return arguments | {"metrics": [*arguments["metrics"], *given.metrics]}


def task_loss_and_metrics(model: keras.Model, label_smoothing: float) -> dict[str, Any]:
    """Return loss and metrics of a model's task.

    The loss is cross-entropy for labels, of which a fraction may be spread over all classes (Szegedy et al. 2016,
    arXiv:1512.00567), and the squared error for numbers. Outputs are probabilities, no logits. `metrics.json` always
    reports cross-entropy or squared error, whatever was minimized.
    """
    task = get_task(model)
    if task == "single_label":
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
        return {"loss": loss, "metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")]}
    if task == "multi_label":

        def binary_crossentropy(true: keras.KerasTensor, predicted: keras.KerasTensor) -> keras.KerasTensor:
            """Return the loss of each label `(B, K)`, so that each can have a weight; Keras takes the mean of all."""
            smooth = true * (1 - label_smoothing) + label_smoothing / 2
            return keras.ops.binary_crossentropy(smooth, predicted)

        return {"loss": binary_crossentropy, "metrics": [keras.metrics.BinaryAccuracy(name="accuracy")]}
    # In units of the targets' own variance, so that learning rates and penalties mean the same for any unit.
    std = float(model.get_layer("units").scale)
    return {"loss": "mse", "loss_weights": std**-2, "metrics": [keras.metrics.MeanAbsoluteError(name="mae")]}


def compile_part(
    model: keras.Model, part: keras.Model, optimizer: keras.optimizers.Optimizer, label_smoothing: float,
    given: Extensions,
) -> list[keras.Variable]:  # fmt: skip
    """Compile the part of a model that runs, and return all that a training step changes."""
    arguments = loss_and_metrics(model, label_smoothing, given)
    # [part: devices]
    from tlkeras.training.distribute import loss_on_devices

    arguments["loss"] = loss_on_devices(part, arguments["loss"])
    # [/part]
    # XLA on the CPU made MobileNetV2 fifteen times slower, and deterministic mode goes without it anyway.
    inline_convolutions(part).compile(optimizer=optimizer, jit_compile=False, **arguments)
    return training_state(part)


def fit(phase: Phase, inputs: PhaseInputs, first_epoch: int, callbacks: list[keras.callbacks.Callback]) -> None:
    """Train a compiled part to the end of the phase; refuse a loss that becomes NaN or infinite."""
    # [part: cluster]
    if inputs.cluster:
        inputs.cluster.fit(phase, inputs, first_epoch, callbacks)
        return
    # [/part]
    advice = f"Lower {OPTIONS[phase.name]} (it was {phase.learning_rate})."
    shown: type[EpochProgress] = EpochProgress
    # [part: notebooks]
    from tlkeras.progress import in_notebook

    if in_notebook():
        from tlkeras.training.notebook import NotebookProgress

        shown = NotebookProgress
    # [/part]
    progress = shown(inputs.examples, inputs.batch_size, inputs.unit, TITLES[phase.name], phase.last_epoch)
    inputs.part.fit(
        inputs.training(first_epoch=first_epoch, last_epoch=phase.last_epoch),
        validation_data=inputs.validation,
        steps_per_epoch=inputs.steps,
        shuffle=False,  # the pipeline has done it
        initial_epoch=first_epoch,
        epochs=phase.last_epoch,
        callbacks=[progress, TerminateOnNaN(advice), *callbacks],  # a line ends before others print
        verbose=0,
    )
