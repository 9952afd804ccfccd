"""One phase: compile afresh, fit, keep the best epoch; after a stop, go on after the last epoch."""

import dataclasses
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from tlkeras.config import TrainingOptions
from tlkeras.data.pipeline import SplitData, steps_per_epoch
from tlkeras.data.targets import balanced_class_weights
from tlkeras.errors import UserError
from tlkeras.models.builders import task_of
from tlkeras.models.freezing import get_backbone, first_trainable_index
from tlkeras.training.callbacks import RestoreBestWeights, TerminateOnNaN, HistoryLogger, Throughput, NotebookProgress, fit_verbosity
from tlkeras.training.checkpoint import Checkpoint, Checkpoints
from tlkeras.training.losses import loss_and_metrics
from tlkeras.training.optimizers import make_optimizer
from tlkeras.training.state import EpochCheckpoint, assign_all, training_state, to_numpy
from tlkeras.training.phase_inputs import PhaseInputs

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class Phase:
    """One call of `fit`.

    Attributes:
        name: "frozen" is phase 1, "finetune" phase 2.
        unfreeze: what learns besides the head; a stage, a number, a share, "all" or "none".
        rate: the greatest learning rate.
        first_epoch: counted over both phases, from 0.
        last_epoch: end of the range, not included.
    """

    name: Literal["frozen", "finetune"]
    unfreeze: str
    rate: float
    first_epoch: int
    last_epoch: int

    def __str__(self) -> str:
        return "Phase 1, backbone frozen" if self.name == "frozen" else f"Phase 2, backbone unfrozen: {self.unfreeze}"


@dataclass
class TrainingResult:
    """What happened.

    Attributes:
        history: a row for each epoch of both phases: phase, epoch, rate, loss, metrics, and the same for validation.
        seconds: of the pass that computes features, and of each phase, by its name.
        kept: the phase whose model was kept.
        epoch: number of the epoch whose weights were kept, from 1.
        best: what that epoch scored; see `tlkeras.training.callbacks.score`.
    """

    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: str = ""
    epoch: int = 0
    best: tuple[float, ...] | None = None


def plan_phases(model: keras.Model, options: TrainingOptions) -> list[Phase]:
    """The phases that the options ask for; no second one where it would unfreeze nothing."""
    first, last = options.frozen_epochs, options.frozen_epochs + options.finetune_epochs
    phases = [Phase("frozen", "none", options.head_learning_rate, 0, first)]
    backbone = get_backbone(model)
    if options.finetune_epochs and first_trainable_index(backbone, options.unfreeze) < len(backbone.layers):
        phases.append(Phase("finetune", options.unfreeze, options.finetune_learning_rate, first, last))
    return phases


class PhaseTrainer:
    """A phase at work.

    Attributes:
        before: what the weights that learn held when the phase began.
        best: knows the best epoch.
    """

    def __init__(
        self, model: keras.Model, road: PhaseInputs, phase: Phase, train: SplitData, options: TrainingOptions,
        result: TrainingResult,
    ) -> None:  # fmt: skip
        """Compile the part of the model that runs; its trainable layers are set already."""
        task, self._steps = task_of(model), steps_per_epoch(len(train), options.batch_size)
        optimizer = make_optimizer(model, options, phase.rate, self._steps * (phase.last_epoch - phase.first_epoch))
        # XLA on the CPU made MobileNetV2 fifteen times slower, and the deterministic mode goes without it anyway.
        goal = loss_and_metrics(model, options.label_smoothing, task)
        road.part.compile(optimizer=optimizer, jit_compile=False, **goal)
        self._road, self._phase, self._train, self._options, self._result = road, phase, train, options, result
        self._first, self._spent = phase.first_epoch, 0.0
        self.before = to_numpy(model.trainable_weights)
        self.best = RestoreBestWeights(task, options.patience)
        self._changing = training_state(road.part)

    def restore(self, saved: Checkpoint) -> None:
        """Be where a checkpoint of this phase was written."""
        assign_all(self._changing, saved.arrays["changing"])
        self.best.restore(saved.state["best"], saved.arrays["best"])
        self.before, self._first = saved.arrays["before"], saved.number
        self._spent = saved.state["seconds"]
        log.info("Going on after epoch %d.", saved.number)

    def fit(self, checkpoints: Checkpoints | None, about: dict[str, Any]) -> None:
        """Train to the end of the phase; the model then holds the weights of its best epoch.

        Args:
            checkpoints: where each epoch is kept.
            about: goes into each checkpoint.

        Raises:
            UserError: the loss is no longer a number.
        """
        phase, options, start = self._phase, self._options, time.perf_counter()
        callbacks = [TerminateOnNaN(), self.best, HistoryLogger(self._result.history, phase.name)]
        if checkpoints:
            callbacks.append(EpochCheckpoint(checkpoints, self._arrays, lambda: about | self._state(start)))
        callbacks.append(Throughput(len(self._train), options.batch_size, phase.last_epoch, self._train.form))
        callbacks.append(NotebookProgress("Phase 1" if phase.name == "frozen" else "Phase 2", self._first, phase.last_epoch))
        try:
            if self._first < phase.last_epoch and not self.best.done:
                self._fit(callbacks)
            else:  # the stop came after the last epoch
                self.best.set_model(self._road.part)
                self.best.on_train_end()
        except FloatingPointError as error:
            option = "--head-learning-rate" if phase.name == "frozen" else "--finetune-learning-rate"
            raise UserError(f"Training went wrong: {error}. Lower {option} (it was {phase.rate}).") from None
        self._result.seconds[phase.name] = self._state(start)["seconds"]

    def _fit(self, callbacks: list[keras.callbacks.Callback]) -> None:
        road, phase = self._road, self._phase
        balanced = self._options.class_weights == "balanced"
        weights = balanced_class_weights(self._train.targets) if balanced else None
        road.part.fit(
            road.training(first_epoch=self._first, last_epoch=phase.last_epoch, class_weights=weights),
            validation_data=road.validation,
            steps_per_epoch=self._steps,
            shuffle=False,  # the pipeline has done it
            initial_epoch=self._first,
            epochs=phase.last_epoch,
            callbacks=callbacks,
            verbose=fit_verbosity(),
        )

    def _arrays(self) -> dict[str, list[np.ndarray]]:
        return {"changing": to_numpy(self._changing), "best": self.best.weights, "before": self.before}

    def _state(self, start: float) -> dict[str, Any]:
        seconds = self._spent + time.perf_counter() - start
        result = dataclasses.asdict(self._result)
        return {"phase": self._phase.name, "result": result, "best": self.best.state(), "seconds": seconds}
