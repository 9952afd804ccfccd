"""Two-phase transfer learning: the head on a frozen backbone, then its top, or all of it, at a lower learning rate."""

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from tlkeras.config.extensions import Extensions
from tlkeras.config.fields import check_values, with_options
from tlkeras.config.train import TrainingOptions, with_epochs
from tlkeras.errors import UserError
from tlkeras.models.freezing import (
    FrozenWeights,
    ParameterCount,
    changing_weights,
    first_trainable_index,
    set_trainable,
)
from tlkeras.models.introspect import default_unfreeze, get_backbone, get_task
from tlkeras.training.callbacks import HistoryLogger, Logs, LossNotFiniteError, RestoreBestWeights
from tlkeras.training.checkpoint import Checkpoint, Checkpoints, assign_all, to_numpy
from tlkeras.training.extensions import resolve_extensions
from tlkeras.training.given_data import fit_to_model
from tlkeras.training.linear_probe import fit_probe, wants_probe
from tlkeras.training.optimizers import make_optimizer, make_schedule
from tlkeras.training.phase import TITLES, Phase, PhaseInputs, compile_part, fit
from tlkeras.training.phase_inputs import epoch_rows, prepare_phases

log = logging.getLogger("tlkeras")

LEARNED = 1e-3  # training loss of classes below which nothing is left to learn
RESTARTED = " Note: callbacks= start anew, as Keras' callbacks do not save their state."


@dataclass(repr=False)
class TrainingResult:
    """The result of a training.

    Attributes:
        history: a row for each epoch of both phases: phase, epoch, learning_rate, loss, metrics, and the same for
            validation.
        seconds: of the pass that computes features, and of each phase, by its name.
        kept: the phase whose model was kept.
        epoch: number of the epoch whose weights were kept, counted over both phases from 1; a linear probe is epoch 0.
        monitor: the validation metric that chose it, "val_loss" or "val_accuracy"; `value` is what it was then.
        best: the score of that epoch, empty before the first; see `tlkeras.training.callbacks.score`.
        inputs: what that phase was trained on, once the training is done.
    """

    history: list[dict] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    kept: str = ""
    epoch: int = 0
    monitor: str = "val_loss"
    best: tuple[float, ...] = ()
    inputs: PhaseInputs | None = None

    def __post_init__(self) -> None:
        self.best = tuple(self.best)  # a checkpoint holds a list

    @property
    def value(self) -> float:
        """Return what `monitor` was in the epoch that was kept."""
        return next(row[self.monitor] for row in self.history if row["epoch"] == self.epoch)

    def __repr__(self) -> str:
        kept = next((row for row in self.history if (row["phase"], row["epoch"]) == (self.kept, self.epoch)), {})
        values = "".join(f", {name} {value:.4g}" for name, value in kept.items() if name.startswith("val_"))
        return f"TrainingResult({len(self.history)} epochs, kept epoch {self.epoch} ({self.kept}){values})"


def train_two_phases(
    model: keras.Model,
    train: Any,
    validation: Any = None,
    options: TrainingOptions | None = None,
    checkpoints: Checkpoints | None = None,
    *,
    callbacks: Sequence[Any] = (),
    loss: Any = None,
    metrics: Sequence[Any] = (),
    augment: Any = None,
    epochs: tuple[int, int] | None = None,
    **changes: Any,
) -> TrainingResult:
    """Train a model from `build_classifier` in place.

    Each phase has its own optimizer, schedule and callbacks. Of each phase the epoch that is best on validation by
    `options.monitor` is kept, and phase 1's model when phase 2 does not beat it. After each phase the program proves
    that nothing moved that was frozen.

    Args:
        model: from `build_classifier`.
        train: the training split: a `SplitData`, or data of any kind that `prepare_data` takes, with the classes in
            the order of the model's outputs.
        validation: the validation split, which chooses the epoch and nothing else; any kind of data with the classes of
            `train`.
        options: epochs, learning rates and all else; the defaults when None. `TrainConfig` is one too. Dropout and
            hidden layers start from Keras' own seed: call `keras.utils.set_random_seed` before the model is built to
            repeat a run.
        checkpoints: where each epoch is saved, and where a stopped training resumes; model, data and options must then
            be what they were. It ends bit by bit as if it had not been stopped.
        callbacks: as for `tlkeras.train`, and so are the next three.
        loss: a Keras loss, its name, or a function.
        metrics: Keras metrics, their names, or functions.
        augment: a function of uint8 images `(B, S, S, 3)`, or Keras layers.
        epochs: `(frozen_epochs, finetune_epochs)` of the two phases.
        **changes: single options, such as `frozen_epochs=5`.

    Returns:
        History, times, and which epoch was kept. The model holds the kept weights.

    Raises:
        UserError: an option is not valid or not for the model's task, the examples or targets do not fit the model, the
            frozen weights are not those of the checkpoints, or the loss of phase 1 became NaN or infinite, with what to
            lower.
        RuntimeError: a frozen weight moved.

    Example:
        >>> result = tlkeras.train_two_phases(model, splits["train"], splits["validation"], frozen_epochs=5)
    """
    # [part: devices]
    from tlkeras.training.distribute import on_its_devices

    if there := on_its_devices(model, train_two_phases):
        return there(model, train, validation, options, checkpoints, callbacks=callbacks, loss=loss, metrics=metrics,
                     augment=augment, epochs=epochs, **changes)  # fmt: skip
    # [/part]
    options = with_options(options or TrainingOptions(), with_epochs(epochs, changes), "train_two_phases")
    check_values(options)
    options.check_task(get_task(model))
    train, validation = fit_to_model(model, train, validation)
    options = options.with_defaults(default_unfreeze(model))
    options = options.for_examples(len(epoch_rows(train, options)))
    given = resolve_extensions(Extensions(callbacks, loss, metrics, augment=augment), train, options)
    # [part: fine-tuning]
    check_phases(model, options)
    # [/part]
    # [part: cluster]
    if workers := getattr(options, "cluster_training", None):
        from tlkeras.training.on_cluster import ClusterTraining

        workers = ClusterTraining.of(model, options, given)
    # [/part]
    saved = checkpoints.latest() if checkpoints else None
    result = TrainingResult(**saved.state["result"]) if saved else TrainingResult(monitor=options.monitor)
    start = time.perf_counter()
    inputs = prepare_phases(model, train, validation, as_started(options, saved), given.augment)
    result.seconds["features"] = result.seconds.get("features", 0.0) + time.perf_counter() - start
    # [part: cluster]
    if workers:
        inputs = workers.share(inputs, [phase.name for phase in plan_phases(model, options)])
    # [/part]
    run_phases(model, inputs, options, result, checkpoints, saved, given)
    set_trainable(model, "none")
    result.inputs = inputs[result.kept]
    return result


def run_phases(
    model: keras.Model, inputs: dict[str, PhaseInputs], options: TrainingOptions, result: TrainingResult,
    checkpoints: Checkpoints | None, saved: Checkpoint | None, given: Extensions,
) -> None:  # fmt: skip
    """Train the phases that a checkpoint does not have; phase 1 may be a linear probe."""
    if probe := wants_probe(model, inputs["frozen"], options, given):
        options = dataclasses.replace(options, frozen_epochs=0)
    for phase in plan_phases(model, options):
        count = start_phase(model, phase, options)
        if saved and phase.name == "frozen" and saved.state["phase"] == "finetune":
            continue  # it was done before the stop; the checkpoint holds its result
        state = "backbone frozen" if phase.name == "frozen" else f"{phase.unfreeze} unfrozen"
        log.info("%s, %s: %s.", TITLES[phase.name], state, count)
        if phase.name == "frozen" and probe:
            fit_probe(model, inputs["frozen"], options, given, result)
            continue
        resumed = saved if saved and saved.state["phase"] == phase.name else None
        train_phase(model, phase, inputs, options, result, checkpoints, resumed, given)


# [part: fine-tuning]
def check_phases(model: keras.Model, options: TrainingOptions) -> None:
    """Refuse what cannot be, before features are computed."""
    options.check_finetuning()
    for phase in plan_phases(model, options):
        start_phase(model, phase, options)
    set_trainable(model, "none")


# [/part]
def plan_phases(model: keras.Model, options: TrainingOptions) -> list[Phase]:
    """Return the phases that the options ask for; no second one where it would unfreeze nothing."""
    unfreeze, head, finetune = options.unfreeze, options.head_learning_rate, options.finetune_learning_rate
    epochs = options.finetune_epochs
    assert unfreeze is not None and head is not None and finetune is not None  # see `TrainingOptions.with_defaults`
    assert epochs is not None  # see `TrainingOptions.for_examples`
    first, last = options.frozen_epochs, options.frozen_epochs + epochs
    phases = [Phase("frozen", "none", head, 0, first)]
    if epochs and first_trainable_index(model, unfreeze) < len(get_backbone(model).layers):
        phases.append(Phase("finetune", unfreeze, finetune, first, last, options.batch_norm == "train"))
    return phases


def start_phase(model: keras.Model, phase: Phase, options: TrainingOptions) -> ParameterCount:
    """Set what is trainable in a phase; the next `set_trainable` ends it."""
    # [part: fine-tuning]
    if phase.name == "finetune":
        from tlkeras.training.finetuning import start_finetuning

        return start_finetuning(model, phase.unfreeze, options)
    # [/part]
    return set_trainable(model, phase.unfreeze, batch_norm=phase.batch_norm)


def train_phase(
    model: keras.Model, phase: Phase, inputs: dict[str, PhaseInputs], options: TrainingOptions, result: TrainingResult,
    checkpoints: Checkpoints | None, saved: Checkpoint | None, given: Extensions,
) -> None:  # fmt: skip
    """Train one phase, or resume it where a checkpoint was saved; keep its best epoch if it beats the result so far."""
    frozen, before = FrozenWeights(model), to_numpy(changing_weights(model))
    ran, fingerprint = inputs[phase.name], make_fingerprint(frozen, phase, inputs)
    steps = ran.steps * (phase.last_epoch - phase.first_epoch)
    schedule = make_schedule(phase.learning_rate, steps, options.warmup, constant=options.schedule == "constant")
    optimizer = make_optimizer(model, options, schedule, steps)
    variables = compile_part(model, ran.part, optimizer, options.label_smoothing, given)
    best, first_epoch, spent = make_early_stopping(model, phase, options, given), phase.first_epoch, 0.0
    if saved:
        check_same(fingerprint, saved)
        assign_all(variables, saved.arrays["changing"])
        best.restore(saved.state["best"], saved.arrays["best"])
        before, spent = saved.arrays["before"], saved.state["seconds"]
        first_epoch = phase.last_epoch if best.done else saved.number
        log.info("Resuming from epoch %d.%s", saved.number, RESTARTED if given.callbacks else "")
    start = time.perf_counter() - spent
    for callback in given.callbacks:
        if isinstance(callback, keras.callbacks.CSVLogger):
            callback.append |= first_epoch > 0  # else each phase would begin the file anew
    callbacks: list[keras.callbacks.Callback] = [best, HistoryLogger(result.history, phase.name), *given.callbacks]
    if checkpoints:

        def write(epoch: int, logs: Logs) -> None:
            best.done |= ran.part.stop_training  # one of the other callbacks may have ended the phase
            arrays = {"changing": to_numpy(variables), "best": best.weights, "before": before}
            state = {"phase": phase.name, "result": dataclasses.asdict(result), "best": best.state()}
            checkpoints.write(epoch + 1, arrays, fingerprint | state | {"seconds": time.perf_counter() - start})

        callbacks.append(keras.callbacks.LambdaCallback(on_epoch_end=write))
    try:
        fit(phase, ran, first_epoch, callbacks)
    except LossNotFiniteError as error:
        if not result.best:
            raise
        log.warning("%s Phase 1's model is kept.", error)
        assign_all(changing_weights(model), before)
        return
    result.seconds[phase.name] = time.perf_counter() - start
    frozen.check()
    keep_better(model, phase, best, before, result)


def make_early_stopping(
    model: keras.Model, phase: Phase, options: TrainingOptions, given: Extensions
) -> RestoreBestWeights:  # fmt: skip
    """Return what keeps the best epoch of a phase, and ends it: also, after the warmup, where all is learned."""
    learned = LEARNED if get_task(model) == "single_label" and given.loss is None else -np.inf
    # [part: fine-tuning]
    if options.gradual_unfreezing:
        learned = -np.inf  # its later stages are still to be unfrozen
    # [/part]
    warmed_up = phase.first_epoch + math.ceil(options.warmup * (phase.last_epoch - phase.first_epoch))
    assert options.patience is not None  # see `TrainingOptions.for_examples`
    return RestoreBestWeights(options.monitor, options.patience, learned, warmed_up)


def as_started(options: TrainingOptions, saved: Checkpoint | None) -> TrainingOptions:
    """Return options with the engine that a run was started with; "auto" may choose another one by now."""
    if not saved or options.engine != "auto":
        return options
    # [part: openvino]
    from importlib.util import find_spec

    if saved.state["engine"] == "openvino" and not find_spec("openvino"):
        raise UserError(
            "This run was started with features by OpenVINO, which is not installed any more. Install it to resume "
            "(pip install openvino), or start over."
        )
    # [/part]
    return dataclasses.replace(options, engine=saved.state["engine"])


def make_fingerprint(frozen: FrozenWeights, phase: Phase, inputs: dict[str, PhaseInputs]) -> dict[str, Any]:
    """Return what a phase must have in common with the one that is resumed."""
    ran = inputs[phase.name]
    return {
        "frozen": frozen.digest(),
        "cached": {name: bool(of_phase.features) for name, of_phase in inputs.items()},
        "engine": ran.engine,
        # [part: cluster]
        "workers": next((one.cluster.count for one in inputs.values() if one.cluster), 0),
        # [/part]
    }


def keep_better(
    model: keras.Model, phase: Phase, best: RestoreBestWeights, before: list[np.ndarray], result: TrainingResult
) -> None:
    """Keep the best epoch of a phase where it beats the result so far, else the weights before it; say so."""
    better = best.best > result.best
    if better:
        best.on_train_end()  # once more: a callback of the user's may have put other weights there
        result.best, result.kept, result.epoch = best.best, phase.name, best.epoch + 1
    else:
        assign_all(changing_weights(model), before)
    log.info("Restored epoch %d of %d (%s %s)%s.", result.epoch, phase.last_epoch, result.monitor,
             f"{result.value:#.3g}", "" if better else ", as phase 2 did not beat phase 1")  # fmt: skip


def check_same(fingerprint: dict, saved: Checkpoint) -> None:
    """Refuse to resume with other frozen weights or other inputs than the training started with."""
    if fingerprint["frozen"] != saved.state["frozen"]:
        raise UserError(
            "The backbone's weights are not those that this run started with: the weight file has changed. Put it back "
            "to resume, or start over."
        )
    # [part: cluster]
    if fingerprint["workers"] != saved.state["workers"]:
        raise UserError(
            f"This run was started with {saved.state['workers']} workers, and --cluster has {fingerprint['workers']}: "
            "other parts of a batch give other sums. Give as many to resume, or start over."
        )
    # [/part]
    if fingerprint["cached"] != saved.state["cached"]:
        raise UserError(
            "When this run started, there was another amount of room for features in memory or on disk. Give "
            "--memory-gb "
            # [part: feature-cache]
            "and --cache-gb "
            # [/part]
            "as much as then."
        )
