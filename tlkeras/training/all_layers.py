"""Train all layers of a backbone at once, usually from random weights: how pretrained weights are made."""

import logging
import time
from functools import partial

import keras

from tlkeras.config.extensions import Extensions
from tlkeras.config.fields import check_values
from tlkeras.config.pretrain import AllLayersOptions
from tlkeras.data.pipeline import (
    SplitData,
    evaluation_batches,
    even_batch_size,
    steps_per_epoch,
    training_batches,
)
from tlkeras.models.batch_norm import momentum, set_statistics_momentum
from tlkeras.models.introspect import get_backbone, without_resizing
from tlkeras.training.callbacks import HistoryLogger, Logs
from tlkeras.training.checkpoint import Checkpoints, assign_all, to_numpy
from tlkeras.training.given_data import check_split
from tlkeras.training.optimizers import loss_scaled, make_schedule
from tlkeras.training.phase import Phase, PhaseInputs, compile_part, fit

log = logging.getLogger("tlkeras")


def train_all_layers(
    model: keras.Model,
    train: SplitData,
    validation: SplitData | None,
    options: AllLayersOptions,
    checkpoints: Checkpoints | None = None,
) -> list[dict]:
    """Train all layers of a model from `build_classifier`, in place; return the rows of `history.csv`.

    AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) under a cosine with warmup, label smoothing (Szegedy et al.
    2016, arXiv:1512.00567), and at the end the moving average of the weights (Polyak and Juditsky 1992). The last epoch
    is kept, so validation, on which each epoch is evaluated before averaging, chooses nothing and its accuracy is
    unbiased. Unlike in two-phase training, BatchNormalization is trained and updates its statistics: from random
    weights there are none worth keeping, and from pretrained ones those of other images are given up on purpose.
    """
    # [part: devices]
    from tlkeras.training.distribute import on_its_devices

    if there := on_its_devices(model, train_all_layers):
        return there(model, train, validation, options, checkpoints)
    # [/part]
    check_values(options)
    train = check_split(model, train, "training")
    validation = check_split(model, validation, "validation") if validation else None
    steps = steps_per_epoch(len(train), options.batch_size)
    batch_size = even_batch_size(len(train), options.batch_size)
    get_backbone(model).trainable = False
    get_backbone(model).trainable = True  # on a backbone that is trainable already it would change nothing
    set_statistics_momentum(model, steps * options.epochs)
    inputs = PhaseInputs(
        without_resizing(model),
        partial(training_batches, train, options, batch_size=batch_size, seed=options.seed),
        evaluation_batches(validation, options.batch_size) if validation else None,
        len(train),
        batch_size,
        train.modality.throughput_unit,
    )
    optimizer = loss_scaled(model, all_layers_optimizer(options, steps * options.epochs))
    variables = compile_part(model, inputs.part, optimizer, options.label_smoothing, Extensions())
    saved = checkpoints.latest() if checkpoints else None
    history = saved.state["history"] if saved else []
    if saved:
        assign_all(variables, saved.arrays["changing"])
        log.info("Resuming from epoch %d.", saved.number)
    callbacks: list[keras.callbacks.Callback] = [TimedHistory(history, "scratch")]
    if checkpoints:

        def write(epoch: int, logs: Logs) -> None:
            checkpoints.write(epoch + 1, {"changing": to_numpy(variables)}, {"history": history})

        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=write))
    phase = Phase("scratch", "all", options.learning_rate, 0, options.epochs)
    fit(phase, inputs, len(history), callbacks)
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


class TimedHistory(HistoryLogger):
    """Note in each row how long the epoch took, too."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_end(epoch, logs)
        self._rows[-1]["seconds"] = round(time.perf_counter() - self._start, 1)
