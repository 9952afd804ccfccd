"""Callbacks of one phase; each phase makes its own, because Keras' callbacks carry their best value over."""

import logging
import sys
import time
from typing import Any

import keras
import numpy as np

from tlkeras.config import ModalityName, Task
from tlkeras.notebook import Progress, in_notebook

log = logging.getLogger("tlkeras")


def score(logs: dict[str, float], task: Task) -> tuple[float, ...]:
    """What epochs are compared by, greater is better: accuracy and then loss for one label, else the loss alone."""
    if task == "single_label":
        return (logs["val_accuracy"], -logs["val_loss"])
    return (-logs["val_loss"],)


def fit_verbosity() -> int:
    """For `fit`: a bar where someone watches, a line for each epoch where not; nothing where `Watch` shows it."""
    return 0 if in_notebook() else 1 if sys.stdout.isatty() else 2


class TerminateOnNaN(keras.callbacks.Callback):
    """Stop with a FloatingPointError when a loss is no longer a number."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Look at both losses; there may be no validation.

        Raises:
            FloatingPointError: one of them is infinite or no number.
        """
        for what, name in (("training", "loss"), ("validation", "val_loss")):  # the last step can spoil the latter only
            if not np.isfinite(logs.get(name, 0.0)):
                self.model.stop_training = True
                raise FloatingPointError(f"the {what} loss became {logs[name]} in epoch {epoch + 1}")


class RestoreBestWeights(keras.callbacks.Callback):
    """Remember the weights of the best epoch by validation, put them back at the end, and stop early.

    Attributes:
        best: the score of the best epoch, None before the first.
        epoch: its number, from 0.
        logs: its figures.
        weights: what the trainable weights held then.
        done: whether the phase ended early.
    """

    def __init__(self, task: Task, patience: int) -> None:
        super().__init__()
        self.best: tuple[float, ...] | None = None
        self.epoch = -1
        self.logs: dict[str, float] = {}
        self._task, self._patience = task, patience
        self.weights: list[np.ndarray] = []
        self.done = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        current = score(logs, self._task)
        if self.best is None or current > self.best:
            self.best, self.epoch, self.logs = current, epoch, dict(logs)
            self.weights = [keras.ops.convert_to_numpy(weight).copy() for weight in self.model.trainable_weights]
        elif epoch - self.epoch >= self._patience:
            log.info("No better validation result for %d epochs: the phase ends here.", self._patience)
            self.model.stop_training = self.done = True

    def state(self) -> dict[str, Any]:
        """All but the weights, as JSON has it."""
        return {"best": list(self.best), "epoch": self.epoch, "logs": self.logs, "done": self.done}

    def restore(self, state: dict[str, Any], weights: list[np.ndarray]) -> None:
        """Be as a callback was whose `state()` and weights these are."""
        self.best, self.epoch, self.logs, self.done = tuple(state["best"]), state["epoch"], state["logs"], state["done"]
        self.weights = weights

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        for variable, value in zip(self.model.trainable_weights, self.weights, strict=True):
            variable.assign(value)


class Throughput(keras.callbacks.Callback):
    """Add training images (or texts, or sounds) a second, and the seconds left in this phase, to Keras' progress bar.

    Where features are computed once, an image is one read as features. It must stand after callbacks that keep the
    logs: times differ between equal runs.
    """

    def __init__(self, images: int, batch_size: int, last_epoch: int, form: ModalityName = "pictures") -> None:
        super().__init__()
        self._unit = "img/s" if form == "pictures" else f"{form}/s"
        self._images, self._batch_size, self._last_epoch = images, batch_size, last_epoch
        self._last_seconds = 0.0  # of the epoch before, validation included

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._start, self._after = time.perf_counter(), self._last_epoch - epoch - 1

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        seconds, done = time.perf_counter() - self._start, min((batch + 1) * self._batch_size, self._images)
        self._speed = round(done / seconds)
        whole = self._last_seconds or seconds * self._images / done
        logs[self._unit] = self._speed
        if left := round(max(whole - seconds, 0.0) + whole * self._after):  # Keras prints nought as 0.0000e+00
            logs["s left"] = left

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._last_seconds = time.perf_counter() - self._start
        logs[self._unit] = self._speed
        if left := round(self._last_seconds * self._after):
            logs["s left"] = left


class NotebookProgress(keras.callbacks.Callback):
    """In a notebook a bar and a table of the epochs, in place of Keras' lines; elsewhere nothing.

    It must stand after `Speed`, whose figures it shows.
    """

    def __init__(self, title: str, first_epoch: int, last_epoch: int) -> None:
        super().__init__()
        self._title, self._first, self._last = title, first_epoch, last_epoch
        self._progress: Progress | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        self._progress = Progress(self._title) if in_notebook() else None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self._show((batch + 1) / self.params["steps"], logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._progress:
            speed, unit = next((value, name) for name, value in logs.items() if name.endswith("/s"))
            kept = {name: float(value) for name, value in logs.items() if name not in ("s left", unit)}
            self._progress.row({"epoch": epoch + 1} | kept | {"speed": f"{speed:,} {unit}"})
        self._show(1.0, logs, at_once=True)

    def _show(self, share: float, logs: dict[str, float], at_once: bool = False) -> None:
        if self._progress:
            done = (self._epoch - self._first + share) / (self._last - self._first)
            left = f", {logs['s left']} s left" if "s left" in logs else ""
            self._progress.show(done, f"epoch {self._epoch + 1} of {self._last}{left}", at_once)


class HistoryLogger(keras.callbacks.Callback):
    """One row for each epoch of both phases, appended to the list that is given; also written to the log file.

    The rate is that of the epoch's middle step.
    """

    def __init__(self, rows: list[dict], phase: str) -> None:
        super().__init__()
        self._rows, self._phase = rows, phase

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if batch == self.params["steps"] // 2:
            self._rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row = {"phase": self._phase, "epoch": epoch + 1, "rate": self._rate}
        row |= {name: float(value) for name, value in logs.items()}
        self._rows.append(row)
        log.debug("epoch %d: %s", epoch + 1, ", ".join(f"{name} {value:.4g}" for name, value in list(row.items())[2:]))
