"""Two-phase transfer learning: the head on a frozen backbone, then the top of the backbone at a lower rate."""

import logging
import sys
import time
from dataclasses import dataclass, field
from typing import Literal

import keras

from tlkeras.config import Task, TrainingOptions, check_values
from tlkeras.data.pipeline import ImageSet, steps_per_epoch
from tlkeras.data.targets import balanced_class_weights
from tlkeras.errors import UserError
from tlkeras.models.builders import task_of
from tlkeras.models.freezing import FrozenWeights, backbone_of, first_unfrozen, row_of, set_trainable
from tlkeras.training.callbacks import BestEpoch, HistoryTable, Speed
from tlkeras.training.optimizers import make_optimizer
from tlkeras.training.roads import Road, make_roads

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class Phase:
    """One call of `fit`: epochs counted over both phases, from 0."""

    name: Literal["frozen", "finetune"]
    unfreeze: str
    rate: float
    first_epoch: int
    last_epoch: int


@dataclass
class TrainingResult:
    """What happened.

    Attributes:
        history: a row for each epoch of both phases: phase, epoch, rate, loss, metrics, and the same for validation.
        seconds: of the pass that computes features, and of each phase, by its name.
        kept: the phase whose model was kept.
        epoch: number of the epoch whose weights were kept, from 1.
    """

    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: str = ""
    epoch: int = 0


def train_two_phases(
    model: keras.Model, train: ImageSet, validation: ImageSet, options: TrainingOptions
) -> TrainingResult:
    """Train a model from `build_classifier` in place.

    Each phase has its own optimizer, schedule and callbacks. Of each phase the epoch that is best on validation is
    kept, and phase 1's model when phase 2 does not beat it. After each phase the program proves that nothing moved
    that was frozen.

    Args:
        model: from `build_classifier`.
        train: pictures that are learned from.
        validation: pictures that choose the epoch, and nothing else.
        options: epochs, rates and all else; `TrainConfig` is one too. Dropout and hidden layers start from Keras' own
            seed: call `keras.utils.set_random_seed` before the model is built to repeat a run.

    Returns:
        History, times, and which epoch was kept. The model holds the kept weights.

    Raises:
        UserError: when an option is no good, the pictures or targets do not fit the model, or the loss of phase 1 is no
            longer a number, with what to lower.
        RuntimeError: when a frozen weight moved.
    """
    check_values(options)
    check_data(model, train, validation)
    options = options.with_defaults(row_of(model).finetune_from)
    result, best = TrainingResult(), None
    start = time.perf_counter()
    roads = make_roads(model, train, validation, options)
    result.seconds["features"] = time.perf_counter() - start
    for phase in plan(model, options):
        learning = set_trainable(model, phase.unfreeze)
        log.info("%s: %s.", describe(phase), learning)
        before = model.get_weights()
        frozen = FrozenWeights(model)
        try:
            epoch = fit_phase(model, roads[phase.name], phase, train, options, result)
        except UserError as error:  # the loss became infinite
            if best is None:
                raise
            log.warning("%s Phase 1's model is kept.", error)
            model.set_weights(before)
            break
        frozen.check()
        if best is None or epoch.best > best:
            best, result.kept, result.epoch = epoch.best, phase.name, epoch.epoch + 1
        else:
            model.set_weights(before)
            log.info("Phase 2 did not beat phase 1 on validation: phase 1's model is kept.")
    set_trainable(model, "none")
    return result


def check_data(model: keras.Model, train: ImageSet, validation: ImageSet) -> None:
    """Refuse pictures and targets that do not fit the model.

    Raises:
        UserError: with both sizes.
    """
    size, outputs = backbone_of(model).input_shape[1], model.output_shape[-1]
    for data in (train, validation):
        if data.images.shape[1:3] != (size, size):
            raise UserError(f"The pictures have {data.images.shape[1]} pixels a side and the model takes {size}: give "
                            "the same image_size to prepare_data and to the builder.")  # fmt: skip
        if data.targets.shape[1] != outputs:
            raise UserError(f"The targets have {data.targets.shape[1]} columns and the model has {outputs} outputs: "
                            "build it with as many outputs as there are classes.")  # fmt: skip


def plan(model: keras.Model, options: TrainingOptions) -> list[Phase]:
    """The phases that the options ask for; no second one where it would unfreeze nothing."""
    first, last = options.frozen_epochs, options.frozen_epochs + options.finetune_epochs
    phases = [Phase("frozen", "none", options.frozen_rate, 0, first)]
    backbone = backbone_of(model)
    if options.finetune_epochs and first_unfrozen(backbone, options.unfreeze) < len(backbone.layers):
        phases.append(Phase("finetune", options.unfreeze, options.finetune_rate, first, last))
    return phases


def describe(phase: Phase) -> str:
    """A phase in a few words."""
    if phase.name == "frozen":
        return "Phase 1, backbone frozen"
    return f"Phase 2, backbone unfrozen: {phase.unfreeze}"


def fit_phase(
    model: keras.Model,
    road: Road,
    phase: Phase,
    train: ImageSet,
    options: TrainingOptions,
    result: TrainingResult,
) -> BestEpoch:
    """Compile afresh and fit; returns the callback that knows the best epoch."""
    task, steps = task_of(model), steps_per_epoch(len(train), options.batch_size)
    optimizer = make_optimizer(model, options, phase.rate, steps * (phase.last_epoch - phase.first_epoch))
    # XLA on the CPU made MobileNetV2 fifteen times slower, and the deterministic mode goes without it anyway.
    road.part.compile(optimizer=optimizer, jit_compile=False, **objective(model, options, task))
    weights = balanced_class_weights(train.targets) if options.class_weights == "balanced" else None
    best = BestEpoch(task, options.patience)
    start = time.perf_counter()
    try:
        road.part.fit(
            road.training(first_epoch=phase.first_epoch, last_epoch=phase.last_epoch, class_weights=weights),
            validation_data=road.validation,
            steps_per_epoch=steps,
            shuffle=False,  # the pipeline has done it
            initial_epoch=phase.first_epoch,
            epochs=phase.last_epoch,
            callbacks=[
                best,
                HistoryTable(result.history, phase.name),
                Speed(len(train), options.batch_size, phase.last_epoch),
            ],
            verbose=1 if sys.stdout.isatty() or "ipykernel" in sys.modules else 2,
        )
    except FloatingPointError as error:
        option = "--frozen-rate" if phase.name == "frozen" else "--finetune-rate"
        raise UserError(f"Training went wrong: {error}. Lower {option} (it was {phase.rate}).") from None
    result.seconds[phase.name] = time.perf_counter() - start
    return best


def objective(model: keras.Model, options: TrainingOptions, task: Task) -> dict:
    """Loss and metrics of a task, as arguments of `compile`."""
    if task == "single_label":
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=options.label_smoothing)
        return {"loss": loss, "metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")]}
    if task == "multi_label":
        loss = keras.losses.BinaryCrossentropy(label_smoothing=options.label_smoothing)
        return {"loss": loss, "metrics": [keras.metrics.BinaryAccuracy(name="accuracy")]}
    # In units of the targets' own variance, so that rates and penalties mean the same for any unit.
    deviation = float(model.get_layer("units").scale)
    return {"loss": "mse", "loss_weights": deviation**-2, "metrics": [keras.metrics.MeanAbsoluteError(name="mae")]}
