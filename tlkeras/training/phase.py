"""One phase: compile, fit, restore the best epoch; after a stop, resume after the last epoch."""

import dataclasses
import logging
import time
from dataclasses import dataclass, field
from typing import Any, Literal

import keras
import numpy as np

from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData, balanced_class_weights, steps_per_epoch
from tlkeras.errors import UserError
from tlkeras.models.freezing import first_trainable_index
from tlkeras.models.introspect import get_backbone, get_task
from tlkeras.training.callbacks import (
    HistoryLogger,
    NotebookProgress,
    RestoreBestWeights,
    TerminateOnNaN,
    Throughput,
    fit_verbosity,
)
from tlkeras.training.checkpoint import Checkpoint, Checkpoints
from tlkeras.training.losses import loss_and_metrics
from tlkeras.training.optimizers import make_optimizer
from tlkeras.training.phase_inputs import PhaseInputs
from tlkeras.training.state import EpochCheckpoint, assign_all, to_numpy, training_state

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class Phase:
    """One call of `fit`.

    Attributes:
        name: "frozen" is phase 1, "finetune" phase 2.
        unfreeze: what is trainable besides the head; a stage, a number, a fraction, "all" or "none".
        learning_rate: the maximum learning rate.
        first_epoch: counted over both phases, from 0.
        last_epoch: end of the range, not included.
    """

    name: Literal["frozen", "finetune"]
    unfreeze: str
    learning_rate: float
    first_epoch: int
    last_epoch: int

    def __str__(self) -> str:
        return "Phase 1, backbone frozen" if self.name == "frozen" else f"Phase 2, backbone unfrozen: {self.unfreeze}"


@dataclass
class TrainingResult:
    """The result of a training.

    Attributes:
        history: a row for each epoch of both phases: phase, epoch, learning_rate, loss, metrics, and the same for
            validation.
        seconds: of the pass that computes features, and of each phase, by its name.
        kept: the phase whose model was kept.
        epoch: number of the epoch whose weights were kept, from 1.
        best: the score of that epoch, empty before the first; see `tlkeras.training.callbacks.score`.
    """

    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: str = ""
    epoch: int = 0
    best: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        self.best = tuple(self.best)  # a checkpoint holds a list


def plan_phases(model: keras.Model, options: TrainingOptions) -> list[Phase]:
    """Return the phases that the options ask for; no second one where it would unfreeze nothing."""
    unfreeze, head, finetune = options.unfreeze, options.head_learning_rate, options.finetune_learning_rate
    assert unfreeze is not None and head is not None and finetune is not None  # see `TrainingOptions.with_defaults`
    first, last = options.frozen_epochs, options.frozen_epochs + options.finetune_epochs
    phases = [Phase("frozen", "none", head, 0, first)]
    if options.finetune_epochs and first_trainable_index(model, unfreeze) < len(get_backbone(model).layers):
        phases.append(Phase("finetune", unfreeze, finetune, first, last))
    return phases


class PhaseTrainer:
    """Train one phase.

    Attributes:
        before: what the trainable weights held when the phase started.
        best: tracks the best epoch.
    """

    def __init__(
        self, model: keras.Model, inputs: PhaseInputs, phase: Phase, train: SplitData, options: TrainingOptions,
        result: TrainingResult,
    ) -> None:  # fmt: skip
        """Compile the part of the model that runs; its trainable layers are set already."""
        task, self._steps = get_task(model), steps_per_epoch(len(train), options.batch_size)
        steps = self._steps * (phase.last_epoch - phase.first_epoch)
        # XLA on the CPU made MobileNetV2 fifteen times slower, and deterministic mode goes without it anyway.
        inputs.part.compile(
            optimizer=make_optimizer(model, options, phase.learning_rate, steps),
            jit_compile=False,
            **loss_and_metrics(model, options.label_smoothing, task),
        )
        self._inputs, self._phase, self._train, self._options, self._result = inputs, phase, train, options, result
        self._first, self._spent = phase.first_epoch, 0.0
        self.before = to_numpy(model.trainable_weights)
        self.best = RestoreBestWeights(task, options.patience)
        self._variables = training_state(inputs.part)

    def restore(self, saved: Checkpoint) -> None:
        """Return to where a checkpoint of this phase was written."""
        assign_all(self._variables, saved.arrays["changing"])
        self.best.restore(saved.state["best"], saved.arrays["best"])
        self.before, self._first = saved.arrays["before"], saved.number
        self._spent = saved.state["seconds"]
        log.info("Resuming from epoch %d.", saved.number)

    def fit(self, checkpoints: Checkpoints | None, fingerprint: dict[str, Any]) -> None:
        """Train to the end of the phase; the model then holds the weights of its best epoch.

        Args:
            checkpoints: where each epoch is saved.
            fingerprint: goes into each checkpoint.

        Raises:
            UserError: the loss became NaN or infinite.
        """
        phase, options, start = self._phase, self._options, time.perf_counter()
        callbacks = [TerminateOnNaN(), self.best, HistoryLogger(self._result.history, phase.name)]
        if checkpoints:
            callbacks.append(EpochCheckpoint(checkpoints, self._arrays, lambda: fingerprint | self._state(start)))
        unit = self._train.modality.throughput_unit
        callbacks.append(Throughput(len(self._train), options.batch_size, phase.last_epoch, unit))
        callbacks.append(
            NotebookProgress("Phase 1" if phase.name == "frozen" else "Phase 2", self._first, phase.last_epoch)
        )
        try:
            if self._first < phase.last_epoch and not self.best.done:
                self._fit(callbacks)
            else:  # the stop came after the last epoch
                self.best.set_model(self._inputs.part)
                self.best.on_train_end()
        except FloatingPointError as error:
            option = "--head-learning-rate" if phase.name == "frozen" else "--finetune-learning-rate"
            raise UserError(f"Training failed: {error}. Lower {option} (it was {phase.learning_rate}).") from None
        self._result.seconds[phase.name] = self._state(start)["seconds"]

    def _fit(self, callbacks: list[keras.callbacks.Callback]) -> None:
        inputs, phase = self._inputs, self._phase
        balanced = self._options.class_weights == "balanced"
        weights = balanced_class_weights(self._train.targets) if balanced else None
        inputs.part.fit(
            inputs.training(first_epoch=self._first, last_epoch=phase.last_epoch, class_weights=weights),
            validation_data=inputs.validation,
            steps_per_epoch=self._steps,
            shuffle=False,  # the pipeline has done it
            initial_epoch=self._first,
            epochs=phase.last_epoch,
            callbacks=callbacks,
            verbose=fit_verbosity(),
        )

    def _arrays(self) -> dict[str, list[np.ndarray]]:
        return {"changing": to_numpy(self._variables), "best": self.best.weights, "before": self.before}

    def _state(self, start: float) -> dict[str, Any]:
        seconds = self._spent + time.perf_counter() - start
        result = dataclasses.asdict(self._result)
        return {"phase": self._phase.name, "result": result, "best": self.best.state(), "seconds": seconds}
