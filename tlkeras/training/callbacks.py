"""Callbacks of one phase; each phase makes its own, because Keras' callbacks carry their best value over."""

import logging
import time
from typing import Any

import keras
import numpy as np

from tlkeras.errors import UserError
from tlkeras.training.checkpoint import assign_all, to_numpy

log = logging.getLogger("tlkeras")

Logs = dict[str, float] | None


def score(logs: dict[str, float], monitor: str) -> tuple[float, ...]:
    """Return what epochs are compared by, higher is better: the loss, or the accuracy and then the loss."""
    return (-logs["val_loss"],) if monitor == "val_loss" else (logs[monitor], -logs["val_loss"])


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
                raise UserError(f"Training failed: the {what} loss became {loss} in epoch {epoch + 1}. {self._advice}")


class RestoreBestWeights(keras.callbacks.Callback):
    """Keep the trainable weights of the best epoch on validation, restore them at the end, and stop early (`done`)."""

    def __init__(self, monitor: str, patience: int) -> None:
        super().__init__()
        self._monitor, self._patience = monitor, patience
        self.best: tuple[float, ...] = ()  # which any score is above
        self.epoch, self.done = -1, False
        self.weights: list[np.ndarray] = []

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        current = score(logs or {}, self._monitor)
        if current > self.best:
            self.best, self.epoch, self.weights = current, epoch, to_numpy(self.model.trainable_weights)
        elif epoch - self.epoch >= self._patience:
            log.info("Early stopping: %s was no better for %d epochs (--patience).", self._monitor, self._patience)
            self.model.stop_training = self.done = True

    def on_train_end(self, logs: Logs = None) -> None:
        assign_all(self.model.trainable_weights, self.weights)

    def state(self) -> dict[str, Any]:
        """Return all but the weights, for JSON."""
        return {"best": self.best, "epoch": self.epoch, "done": self.done}

    def restore(self, state: dict[str, Any], weights: list[np.ndarray]) -> None:
        """Take over the state and the weights of another callback."""
        self.best, self.epoch, self.done = tuple(state["best"]), state["epoch"], state["done"]
        self.weights = weights


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
