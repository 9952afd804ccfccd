"""Callbacks of one phase; each phase makes its own, because Keras' callbacks carry their best value over."""

import logging
import sys
import time
from typing import Any

import keras
import numpy as np

from tlkeras.config.fields import Task
from tlkeras.notebook import NotebookBar, in_notebook

log = logging.getLogger("tlkeras")

Logs = dict[str, float] | None


def score(logs: dict[str, float], task: Task) -> tuple[float, ...]:
    """Return what epochs are compared by, higher is better: accuracy and then loss for one label, else the loss."""
    if task == "single_label":
        return (logs["val_accuracy"], -logs["val_loss"])
    return (-logs["val_loss"],)


def fit_verbosity() -> int:
    """Return `verbose` of `fit`: a bar on a terminal, else a line an epoch; nothing where `NotebookProgress` shows."""
    return 0 if in_notebook() else 1 if sys.stdout.isatty() else 2


class TerminateOnNaN(keras.callbacks.Callback):
    """Raise where a loss is NaN or infinite; Keras' own callback of this name sees the training loss only."""

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Check both losses; there may be no validation.

        Raises:
            FloatingPointError: one of them is infinite or no number.
        """
        logs = logs or {}
        for what, name in (("training", "loss"), ("validation", "val_loss")):  # the last step can spoil the latter only
            if not np.isfinite(logs.get(name, 0.0)):
                self.model.stop_training = True
                raise FloatingPointError(f"the {what} loss became {logs[name]} in epoch {epoch + 1}")


class RestoreBestWeights(keras.callbacks.Callback):
    """Keep the weights of the best epoch on validation, restore them at the end, and stop early.

    Attributes:
        best: the score of the best epoch, empty before the first, which any score is above.
        epoch: its index, from 0.
        logs: its metrics.
        weights: what the trainable weights held then.
        done: whether the phase ended early.
    """

    def __init__(self, task: Task, patience: int) -> None:
        super().__init__()
        self.best: tuple[float, ...] = ()
        self.epoch = -1
        self.logs: dict[str, float] = {}
        self._task, self._patience = task, patience
        self.weights: list[np.ndarray] = []
        self.done = False

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        current = score(logs or {}, self._task)
        if current > self.best:
            self.best, self.epoch, self.logs = current, epoch, dict(logs or {})
            self.weights = [keras.ops.convert_to_numpy(weight).copy() for weight in self.model.trainable_weights]
        elif epoch - self.epoch >= self._patience:
            log.info("Early stopping: no better validation result for %d epochs.", self._patience)
            self.model.stop_training = self.done = True

    def state(self) -> dict[str, Any]:
        """Return all but the weights, for JSON."""
        return {"best": list(self.best), "epoch": self.epoch, "logs": self.logs, "done": self.done}

    def restore(self, state: dict[str, Any], weights: list[np.ndarray]) -> None:
        """Take over the state and the weights of another callback."""
        self.best, self.epoch, self.logs, self.done = tuple(state["best"]), state["epoch"], state["logs"], state["done"]
        self.weights = weights

    def on_train_end(self, logs: Logs = None) -> None:
        for variable, value in zip(self.model.trainable_weights, self.weights, strict=True):
            variable.assign(value)


class Throughput(keras.callbacks.Callback):
    """Add training examples per second, and the seconds left in this phase, to Keras' progress bar.

    Where features are computed once, an example is one read as features. It must come after callbacks that keep the
    logs: times differ between equal runs.
    """

    def __init__(self, examples: int, batch_size: int, last_epoch: int, unit: str = "img/s") -> None:
        super().__init__()
        self._unit, self._examples, self._batch_size, self._last_epoch = unit, examples, batch_size, last_epoch
        self._last_seconds = 0.0  # of the epoch before, validation included

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self._start, self._after = time.perf_counter(), self._last_epoch - epoch - 1

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        seconds, done = time.perf_counter() - self._start, min((batch + 1) * self._batch_size, self._examples)
        self._speed = round(done / seconds)
        whole = self._last_seconds or seconds * self._examples / done
        self._add(logs, round(max(whole - seconds, 0.0) + whole * self._after))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._last_seconds = time.perf_counter() - self._start
        self._add(logs, round(self._last_seconds * self._after))

    def _add(self, logs: Logs, seconds_left: int) -> None:
        if logs is not None:
            logs[self._unit] = self._speed
            if seconds_left:  # Keras prints zero as 0.0000e+00
                logs["s left"] = seconds_left


class NotebookProgress(keras.callbacks.Callback):
    """Show a bar and a table of the epochs in a notebook, in place of Keras' lines; elsewhere nothing.

    It must come after `Throughput`, whose numbers it shows.
    """

    def __init__(self, title: str, first_epoch: int, last_epoch: int) -> None:
        super().__init__()
        self._title, self._epochs = title, last_epoch - first_epoch
        self._bar: NotebookBar | None = None

    def on_train_begin(self, logs: Logs = None) -> None:
        if in_notebook():
            self._bar = NotebookBar(total=self._epochs * self.params["steps"], desc=self._title, unit=" steps")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self._bar is not None:
            self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self._bar is not None and logs:
            speed, unit = next((value, name) for name, value in logs.items() if name.endswith("/s"))
            kept = {name: float(value) for name, value in logs.items() if name not in ("s left", unit)}
            self._bar.add_row({"epoch": epoch + 1} | kept | {"speed": f"{speed:,} {unit}"})

    def on_train_end(self, logs: Logs = None) -> None:
        if self._bar is not None:
            self._bar.close()


class HistoryLogger(keras.callbacks.Callback):
    """Append one row for each epoch of both phases to a list; log it too.

    The learning rate is that of the epoch's middle step.
    """

    def __init__(self, rows: list[dict], phase: str) -> None:
        super().__init__()
        self._rows, self._phase = rows, phase

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if batch == self.params["steps"] // 2:
            self._learning_rate = float(self.model.optimizer.learning_rate)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        row = {"phase": self._phase, "epoch": epoch + 1, "learning_rate": self._learning_rate}
        row |= {name: float(value) for name, value in (logs or {}).items()}
        self._rows.append(row)
        log.debug("epoch %d: %s", epoch + 1, ", ".join(f"{name} {value:.4g}" for name, value in list(row.items())[2:]))
