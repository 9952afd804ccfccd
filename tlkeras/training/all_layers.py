"""Train all layers of a backbone at once, usually from random weights: how pretrained weights are made."""

import logging
import time

import keras

from tlkeras.config.fields import check_values
from tlkeras.config.pretrain import AllLayersOptions
from tlkeras.data.pipeline import SplitData, evaluation_batches, steps_per_epoch, training_batches
from tlkeras.errors import UserError
from tlkeras.models.introspect import get_backbone, get_task, without_resizing
from tlkeras.models.keras_private import flatten_layers
from tlkeras.training.callbacks import (
    HistoryLogger,
    Logs,
    NotebookProgress,
    TerminateOnNaN,
    Throughput,
    fit_verbosity,
)
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.losses import loss_and_metrics
from tlkeras.training.optimizers import loss_scaled, make_schedule
from tlkeras.training.state import EpochCheckpoint, assign_all, to_numpy, training_state
from tlkeras.training.two_phase import check_data

log = logging.getLogger("tlkeras")

# How far BatchNormalization's moving statistics look back: this fraction of all steps, within these bounds.
STATISTICS_FRACTION = 0.02
MIN_STATISTICS_STEPS, MAX_STATISTICS_STEPS = 10, 100


def train_all_layers(
    model: keras.Model,
    train: SplitData,
    validation: SplitData | None,
    options: AllLayersOptions,
    checkpoints: Checkpoints | None = None,
) -> list[dict]:
    """Train all layers of a model from `build_classifier`, in place.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) under a cosine with warmup, label smoothing (Szegedy et al.
    2016, arXiv:1512.00567), and at the end the moving average of the weights (Polyak and Juditsky 1992). The last epoch
    is kept, so validation chooses nothing and its accuracy is an honest one. Unlike in two-phase training,
    BatchNormalization is trained and updates its statistics: from random weights there are none worth keeping, and from
    pretrained ones those of other images are given up on purpose.

    Args:
        model: from `build_classifier`, usually from random weights.
        train: the training split.
        validation: on which each epoch is evaluated, with the weights before averaging; None for none.
        options: epochs, learning rate and all else.
        checkpoints: where each epoch is saved, and where a stopped training resumes.

    Returns:
        A row for each epoch, as `history.csv` has them, with the seconds that it took.

    Raises:
        UserError: an option is not valid, the data do not fit the model, or the loss became NaN or infinite.
    """
    check_values(options)
    check_data(model, train, validation or train)
    steps = steps_per_epoch(len(train), options.batch_size)
    batch_size = steps_per_epoch(len(train), steps)  # even, as BatchNormalization learns nothing from a batch of one
    get_backbone(model).trainable = False
    get_backbone(model).trainable = True  # on a backbone that is trainable already it would change nothing
    set_statistics_momentum(model, steps * options.epochs)
    part = without_resizing(model)
    optimizer = loss_scaled(model, all_layers_optimizer(options, steps * options.epochs))
    compiled = loss_and_metrics(model, options.label_smoothing, get_task(model))
    part.compile(optimizer=optimizer, jit_compile=False, **compiled)
    variables = training_state(part)
    history = restore(variables, checkpoints) if checkpoints else []
    callbacks = [TerminateOnNaN(), HistoryLogger(history, "scratch"), EpochSeconds(history)]
    if checkpoints:
        arrays = lambda: {"changing": to_numpy(variables)}  # noqa: E731
        callbacks.append(EpochCheckpoint(checkpoints, arrays, lambda: {"history": history}))
    callbacks.append(Throughput(len(train), batch_size, options.epochs))
    callbacks.append(NotebookProgress("Training", len(history), options.epochs))
    try:
        part.fit(
            training_batches(
                train, options, batch_size=batch_size, first_epoch=len(history), last_epoch=options.epochs,
                seed=options.seed,
            ),
            validation_data=evaluation_batches(validation, options.batch_size) if validation else None,
            steps_per_epoch=steps,
            shuffle=False,
            initial_epoch=len(history),
            epochs=options.epochs,
            callbacks=callbacks,
            verbose=fit_verbosity(),
        )  # fmt: skip
    except FloatingPointError as error:
        raise UserError(f"Training failed: {error}. Lower --learning-rate (it was {options.learning_rate}).") from None
    return history


def all_layers_optimizer(options: AllLayersOptions, steps: int) -> keras.optimizers.Optimizer:
    """Return AdamW for `steps` steps; Keras puts the average into the model when `fit` ends."""
    optimizer = keras.optimizers.AdamW(
        make_schedule(options.learning_rate, steps, options.warmup),
        weight_decay=options.weight_decay,
        use_ema=options.ema > 0,
        ema_momentum=momentum(options.ema * steps),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def set_statistics_momentum(model: keras.Model, steps: int) -> None:
    """Let BatchNormalization forget at a pace that fits the length of the training.

    Keras' MobileNetV2 looks back a thousand steps, in which a small dataset would never arrive at its statistics.
    """
    looked_back = min(max(STATISTICS_FRACTION * steps, MIN_STATISTICS_STEPS), MAX_STATISTICS_STEPS)
    for layer in flatten_layers(get_backbone(model)):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum(looked_back)


def momentum(steps: float) -> float:
    """Return the momentum of a moving average that looks back about so many steps."""
    return 1 - 1 / max(steps, 1)


def restore(variables: list[keras.Variable], checkpoints: Checkpoints) -> list[dict]:
    """Restore the newest checkpoint, if there is one; return the history up to there."""
    found = checkpoints.latest()
    if found is None:
        return []
    assign_all(variables, found.arrays["changing"])
    log.info("Resuming from epoch %d.", found.number)
    return found.state["history"]


class EpochSeconds(keras.callbacks.Callback):
    """Note how long each epoch took, in its row of the history; it must come after `HistoryLogger`."""

    def __init__(self, rows: list[dict]) -> None:
        super().__init__()
        self._rows = rows

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._rows[-1]["seconds"] = round(time.perf_counter() - self._start, 1)
