"""Train all layers of a backbone at once, from random weights as a rule: how pretrained weights are made."""

import logging
import time

import keras

from tlkeras.config import AllLayersOptions, check_values
from tlkeras.data.pipeline import SplitData, evaluation_batches, steps_per_epoch, training_batches
from tlkeras.errors import UserError
from tlkeras.models.builders import task_of
from tlkeras.models.freezing import get_backbone
from tlkeras.training.callbacks import TerminateOnNaN, HistoryLogger, Throughput, NotebookProgress, fit_verbosity
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.losses import loss_and_metrics
from tlkeras.training.optimizers import loss_scaled, make_schedule
from tlkeras.training.state import EpochCheckpoint, assign_all, training_state, to_numpy
from tlkeras.training.phase_inputs import without_resizing
from tlkeras.training.two_phase import check_data

log = logging.getLogger("tlkeras")

# How far BatchNormalization's moving statistics look back: this share of all steps, within these bounds.
STATISTICS_STEPS = (10, 100)  # at least, at most
STATISTICS_SHARE = 0.02


def train_all_layers(
    model: keras.Model,
    train: SplitData,
    validation: SplitData | None,
    options: AllLayersOptions,
    checkpoints: Checkpoints | None = None,
) -> list[dict]:
    """Train all layers of a model from `build_classifier`, in place.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) under a cosine with warm-up, label smoothing (Szegedy et al.
    2016, arXiv:1512.00567), and at the end the running average of the weights (Polyak and Juditsky 1992). The last
    epoch is kept, so validation chooses nothing and its figure is an honest one. Unlike in two-phase training,
    BatchNormalization learns and updates its statistics: from random weights there are none worth keeping, and from
    pretrained ones those of other pictures are given up on purpose.

    Args:
        model: from `build_classifier`, from random weights as a rule.
        train: pictures that are learned from.
        validation: pictures that each epoch is judged on, with the weights before averaging; None for none.
        options: epochs, rate and all else.
        checkpoints: where each epoch is kept, and where a training that was stopped goes on from.

    Returns:
        A row for each epoch, as `history.csv` has them, with the seconds that it took.

    Raises:
        UserError: an option is no good, the data do not fit the model, or the loss is no longer a number.
    """
    check_values(options)
    check_data(model, train, validation or train)
    steps = steps_per_epoch(len(train), options.batch_size)
    batch_size = steps_per_epoch(len(train), steps)  # even, as BatchNormalization learns nothing from a rest of one
    get_backbone(model).trainable = False
    get_backbone(model).trainable = True  # of a backbone that is trainable already it would change nothing
    set_statistics_memory(model, steps * options.epochs)
    view = without_resizing(model)
    goal = loss_and_metrics(model, options.label_smoothing, task_of(model))
    optimizer = loss_scaled(model, all_layers_optimizer(options, steps * options.epochs))
    view.compile(optimizer=optimizer, jit_compile=False, **goal)
    learned = training_state(view)
    history = resume(learned, checkpoints) if checkpoints else []
    callbacks = [TerminateOnNaN(), HistoryLogger(history, "scratch"), EpochSeconds(history)]
    if checkpoints:
        callbacks.append(EpochCheckpoint(checkpoints, lambda: {"changing": to_numpy(learned)}, lambda: {"history": history}))
    shown = [Throughput(len(train), batch_size, options.epochs), NotebookProgress("Training", len(history), options.epochs)]
    batches = training_batches(
        train, options, batch_size=batch_size, first_epoch=len(history), last_epoch=options.epochs,
        seed=options.seed,
    )  # fmt: skip
    try:
        view.fit(
            batches,
            validation_data=evaluation_batches(validation, options.batch_size) if validation else None,
            steps_per_epoch=steps,
            shuffle=False,
            initial_epoch=len(history),
            epochs=options.epochs,
            callbacks=[*callbacks, *shown],
            verbose=fit_verbosity(),
        )
    except FloatingPointError as error:
        raise UserError(f"Training went wrong: {error}. Lower the rate (it was {options.learning_rate}).") from None
    return history


def all_layers_optimizer(options: AllLayersOptions, steps: int) -> keras.Optimizer:
    """AdamW for `steps` steps; Keras puts the average into the model when `fit` ends."""
    optimizer = keras.optimizers.AdamW(
        make_schedule(options.learning_rate, steps, options.warmup),
        weight_decay=options.weight_decay,
        use_ema=options.ema > 0,
        ema_momentum=momentum(options.ema * steps),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def set_statistics_memory(model: keras.Model, steps: int) -> None:
    """Let BatchNormalization forget at a pace that fits the length of the training.

    Keras' MobileNetV2 looks back a thousand steps, in which a small data set would never arrive at its statistics.
    """
    least, most = STATISTICS_STEPS
    for layer in get_backbone(model)._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum(min(max(STATISTICS_SHARE * steps, least), most))


def momentum(steps: float) -> float:
    """Of a running average that looks back about so many steps."""
    return 1 - 1 / max(steps, 1)


def resume(learned: list[keras.Variable], checkpoints: Checkpoints) -> list[dict]:
    """Put the newest checkpoint, if there is one, into what learns; returns the history up to there."""
    found = checkpoints.latest()
    if found is None:
        return []
    assign_all(learned, found.arrays["changing"])
    log.info("Going on after epoch %d.", found.number)
    return found.state["history"]


class EpochSeconds(keras.callbacks.Callback):
    """Note how long each epoch took, in its row of the history; it must stand behind `HistoryTable`."""

    def __init__(self, rows: list[dict]) -> None:
        super().__init__()
        self._rows = rows

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._rows[-1]["seconds"] = round(time.perf_counter() - self._start, 1)
