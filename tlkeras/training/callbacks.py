"""Callbacks of one phase; each phase makes its own, because Keras' callbacks carry their best value over."""

import itertools
import logging
import sys
import time
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from tlkeras.errors import UserError
from tlkeras.models.freezing import changing_weights
from tlkeras.progress import ERASE
from tlkeras.training.checkpoint import assign_all, to_numpy

log = logging.getLogger("tlkeras")

LINE_WIDTH = 79  # of a terminal with 80 columns; in the last one some would break the line
MOST_LINES, QUICK = 20, 1.0  # of a phase, where its epochs take less than so many seconds
MAIN_VALUES = 3  # loss, val_loss and the first metric outlast the speed where there is no room for all
REDRAW_SECONDS = 0.2

Logs = dict[str, float] | None


def score(logs: dict[str, float], monitor: str) -> tuple[float, ...]:
    """Return what epochs are compared by, higher is better: the loss, or the accuracy and then the loss."""
    return (-logs["val_loss"],) if monitor == "val_loss" else (logs[monitor], -logs["val_loss"])


class LossNotFiniteError(UserError):
    """The loss became NaN or infinite."""


class TerminateOnNaN(keras.callbacks.Callback):
    """Refuse a loss that is NaN or infinite; Keras' own callback of this name sees the training loss only."""

    def __init__(self, advice: str) -> None:
        super().__init__()
        self._advice = advice

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        # After the last step only validation may show it; there may be no validation.
        for what, name in (("training", "loss"), ("validation", "val_loss")):
            loss = (logs or {}).get(name, 0.0)
            if not np.isfinite(loss):
                text = f"Training failed: the {what} loss became {loss} in epoch {epoch + 1}. {self._advice}"
                raise LossNotFiniteError(text)


class RestoreBestWeights(keras.callbacks.Callback):
    """Keep the weights of the best epoch on validation, restore them at the end, and stop early (`done`).

    That is after `patience` epochs without a better one, or once the training loss is below `learned` in an epoch from
    `start_from_epoch` on: then nothing is left to learn, and yet validation can get better slightly in each epoch for a
    long time.
    """

    def __init__(self, monitor: str, patience: int, learned: float = -np.inf, start_from_epoch: int = 0) -> None:
        super().__init__()
        self._monitor, self._patience, self._learned = monitor, patience, learned
        self._start_from_epoch = start_from_epoch
        self.best: tuple[float, ...] = ()  # which any score is above
        self.epoch, self.done, self._reason = -1, False, ""
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        logs = logs or {}
        current = score(logs, self._monitor)
        if current > self.best:
            self.best, self.epoch, self.weights = current, epoch, to_numpy(changing_weights(self.model))
        if logs["loss"] < self._learned and epoch >= self._start_from_epoch:
            self._reason = f"the training loss was below {self._learned}"
        elif epoch - self.epoch >= self._patience:
            self._reason = f"{self._monitor} was no better for {self._patience} epochs (--patience)"
        if self._reason:
            self.model.stop_training = self.done = True

    def on_train_end(self, logs: Logs = None) -> None:
        if self._reason:  # said here, after the line of the last epoch
            log.info("Early stopping: %s.", self._reason)
            self._reason = ""
        assign_all(changing_weights(self.model), self.weights)

    def state(self) -> dict[str, Any]:
        """Return all but the weights, for JSON."""
        return {"best": self.best, "epoch": self.epoch, "done": self.done}

    def restore(self, state: dict[str, Any], weights: list[np.ndarray]) -> None:
        """Take over the state and the weights of another callback."""
        self.best, self.epoch, self.done = tuple(state["best"]), state["epoch"], state["done"]
        self.weights = weights


class EpochProgress(keras.callbacks.Callback):
    """Print a line of at most 79 characters for each epoch; on a terminal it is there from the first step on.

    Where features are computed once, an example is one read as features. ETA is the time left in this phase. Of many
    quick epochs every second, fifth, tenth... has a line, and the last one.
    """

    def __init__(self, examples: int, batch_size: int, unit: str, title: str, last_epoch: int) -> None:
        super().__init__()
        self._examples, self._batch_size, self._unit = examples, batch_size, unit
        self._title, self._last_epoch = title, last_epoch
        self._whole = self._drawn = 0.0  # seconds of the epoch before, validation included; when the line was drawn
        self._on_terminal = sys.stdout.isatty()
        self._first_epoch = -1
        self._unshown: dict[str, float] = {}  # of an epoch that has no line yet

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._start, self._epoch = time.perf_counter(), epoch
        if self._first_epoch < 0:
            self._first_epoch, self._every = epoch, lines_every(self._last_epoch - epoch)
        if self._on_terminal:
            print(f"{ERASE}{self._name()} …", end="", flush=True)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        now, done = time.perf_counter(), min((batch + 1) * self._batch_size, self._examples)
        if batch == 0:  # slow, as TensorFlow builds a graph in the first step of a phase: the others count
            self._first, self._speed = now, done / (now - self._start)
            return
        self._speed = (done - self._batch_size) / (now - self._first)
        if self._on_terminal and now - self._drawn > REDRAW_SECONDS:
            whole = self._whole or self._examples / self._speed
            left = max(whole - (now - self._start), 0.0) + self._later(whole)
            self._print(f"{batch + 1}/{self.params['steps']}", logs or {}, left)
            self._drawn = now

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        first = min(self._batch_size, self._examples) / self._speed
        self._whole = time.perf_counter() - self._first + first
        self._unshown = logs or {}
        every = 1 if self._whole >= QUICK else self._every
        finite = np.isfinite([self._unshown.get(name, 0.0) for name in ("loss", "val_loss")]).all()  # else it ends here
        if (epoch + 1) % every == 0 or epoch in (self._first_epoch, self._last_epoch - 1) or not finite:
            self._end_line()
        elif self._on_terminal:
            print(ERASE, end="", flush=True)  # for what other callbacks print

    def on_train_end(self, logs: Logs = None) -> None:
        if self._unshown:
            self._end_line()

    def _end_line(self) -> None:
        """Show the epoch for good."""
        self._print("", self._unshown, self._later(self._whole))
        print(flush=True)
        self._unshown = {}

    def _name(self) -> str:
        last = str(self._last_epoch)
        return f"Epoch {self._epoch + 1:>{len(last)}}/{last}"

    def _later(self, seconds: float) -> float:
        """Return the seconds of the epochs after this one."""
        return seconds * (self._last_epoch - self._epoch - 1)

    def _print(self, steps: str, logs: dict[str, float], seconds_left: float) -> None:
        """Print the line without its end, over what stands there."""
        names = [name for name in logs if name.startswith("val_")] or [name for name in logs if name != "loss"]
        names = ["loss", *sorted(names, key=lambda name: name != "val_loss")]
        values = [f"{name} {short_number(float(logs[name]))}" for name in names if name in logs]
        start = [self._name(), *filter(None, [steps])]
        speed, left = [f"{self._speed:,.0f} {self._unit}"], []
        if seconds := round(seconds_left):
            left = [f"ETA {tqdm.format_interval(seconds).removeprefix('0')}"]
        while len(line := " ".join([*start, *values, *speed, *left])) > LINE_WIDTH and len(values) > 1:
            if len(values) <= MAIN_VALUES and speed:
                speed = []
            else:
                values.pop()  # all are in history.csv
        print(f"{ERASE}{line}" if self._on_terminal else line, end="", flush=True)


def lines_every(epochs: int) -> int:
    """Return 1, 2, 5, 10, 20...: after how many epochs comes a line, so that they are not too many."""
    steps = (first * 10**power for power in itertools.count() for first in (1, 2, 5))
    return next(step for step in steps if epochs <= step * MOST_LINES)


def short_number(value: float) -> str:
    """Return a number with three digits after the point, where it is neither large nor close to zero."""
    return f"{value:.3f}" if value == 0 or 5e-4 <= abs(value) < 1000 else f"{value:.3g}"


class HistoryLogger(keras.callbacks.Callback):
    """Append one row for each epoch of both phases to a list; log it too.

    The learning rate is that of the epoch's middle step.
    """

    def __init__(self, rows: list[dict], phase: str) -> None:
        super().__init__()
        self._rows, self._phase = rows, phase

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if batch == self.params["steps"] // 2:
            self._learning_rate = float(np.asarray(self.model.optimizer.learning_rate))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        row = {"phase": self._phase, "epoch": epoch + 1, "learning_rate": self._learning_rate}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        self._rows.append(row)
        log.debug("epoch %d: %s", epoch + 1, ", ".join(f"{name} {value:.4g}" for name, value in list(row.items())[2:]))
