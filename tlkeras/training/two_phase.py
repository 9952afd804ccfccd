"""Two-phase transfer learning: the head on a frozen backbone, then the top of the backbone at a lower rate."""

import logging
import time

import keras

from tlkeras.config import TrainingOptions, check_values
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError
from tlkeras.models.freezing import FrozenWeights, get_spec, set_trainable
from tlkeras.models.introspect import decoded_input, form_of
from tlkeras.training.checkpoint import Checkpoint, Checkpoints
from tlkeras.training.phase import PhaseTrainer, TrainingResult, plan_phases
from tlkeras.training.state import assign_all
from tlkeras.training.phase_inputs import PhaseInputs, prepare_phases

log = logging.getLogger("tlkeras")


def train_two_phases(
    model: keras.Model,
    train: SplitData,
    validation: SplitData,
    options: TrainingOptions,
    checkpoints: Checkpoints | None = None,
) -> TrainingResult:
    """Train a model from `build_classifier` in place.

    Each phase has its own optimizer, schedule and callbacks. Of each phase the epoch that is best on validation is
    kept, and phase 1's model when phase 2 does not beat it. After each phase the program proves that nothing moved
    that was frozen.

    Args:
        model: from `build_classifier`.
        train: pictures that are learned from.
        validation: pictures that choose the epoch, and nothing else.
        options: epochs, rates and all else; `TrainConfig` is one too. Dropout and hidden layers start from Keras' own
            seed: call `keras.utils.set_random_seed` before the model is built to repeat a run.
        checkpoints: where each epoch is kept, and where a training that was stopped goes on; model, data and options
            must then be what they were. It ends bit by bit as if it had not been stopped.

    Returns:
        History, times, and which epoch was kept. The model holds the kept weights.

    Raises:
        UserError: when an option is no good, the pictures or targets do not fit the model, the frozen weights are not
            those of the checkpoints, or the loss of phase 1 is no longer a number, with what to lower.
        RuntimeError: when a frozen weight moved.
    """
    check_values(options)
    check_data(model, train, validation)
    options = options.with_defaults(get_spec(model).finetune_from)
    saved = checkpoints.latest() if checkpoints else None
    result = TrainingResult(**saved.state["result"]) if saved else TrainingResult()
    start = time.perf_counter()
    phases = prepare_phases(model, train, validation, options)
    result.seconds["features"] = result.seconds.get("features", 0.0) + time.perf_counter() - start
    for phase in plan_phases(model, options):
        learning = set_trainable(model, phase.unfreeze)
        if saved and phase.name == "frozen" and saved.state["phase"] == "finetune":
            continue  # it was done before the stop; the checkpoint holds what came out
        log.info("%s: %s.", phase, learning)
        frozen = FrozenWeights(model)
        run = PhaseTrainer(model, phases[phase.name], phase, train, options, result)
        if saved and saved.state["phase"] == phase.name:
            check_same(frozen, phases, saved)
            run.restore(saved)
        try:
            run.fit(checkpoints, {"frozen": frozen.digest(), "cached": cached(phases)})
        except UserError as error:  # the loss became infinite
            if result.best is None:
                raise
            log.warning("%s Phase 1's model is kept.", error)
            assign_all(model.trainable_weights, run.before)
            break
        frozen.check()
        if result.best is None or run.best.best > tuple(result.best):
            result.best, result.kept, result.epoch = run.best.best, phase.name, run.best.epoch + 1
        else:
            assign_all(model.trainable_weights, run.before)
            log.info("Phase 2 did not beat phase 1 on validation: phase 1's model is kept.")
    set_trainable(model, "none")
    return result


def cached(phases: dict[str, PhaseInputs]) -> dict[str, bool]:
    """Which phases run on features that were computed once."""
    return {name: road.cached for name, road in phases.items()}


def check_same(frozen: FrozenWeights, phases: dict[str, PhaseInputs], saved: Checkpoint) -> None:
    """Refuse to go on with other frozen weights, or on other roads, than the training began with.

    Raises:
        UserError: they are others.
    """
    if frozen.digest() != saved.state["frozen"]:
        raise UserError("The backbone's weights are not those that this run began with: the weight file has changed. "
                        "Put it back to go on, or begin anew.")  # fmt: skip
    if cached(phases) != saved.state["cached"]:
        raise UserError("When this run began, there was another amount of room for features in memory or on disk. Give "
                        "--memory-gb and --cache-gb as much as then.")  # fmt: skip


def check_data(model: keras.Model, train: SplitData, validation: SplitData) -> None:
    """Refuse examples and targets that do not fit the model.

    Raises:
        UserError: with both sizes.
    """
    form, size, outputs = form_of(model), decoded_input(model).shape[1:], model.output_shape[-1]
    for data in (train, validation):
        if data.form != form:
            raise UserError(f"The model takes {form}, and {data.form} were given. Build it with another backbone.")
        if form == "pictures" and data.inputs.shape[1:] != size:
            raise UserError(f"The pictures have {data.inputs.shape[1]} pixels a side and the model takes {size[0]}: "
                            "give the same image_size to prepare_data and to the builder.")  # fmt: skip
        if form == "sounds" and size != (None,) and data.inputs.shape[1:] != size:
            raise UserError(f"The sounds have {data.inputs.shape[1]:,} samples and the model takes {size[0]:,}: give "
                            "other seconds, or another sample_rate.")  # fmt: skip
        if data.targets.shape[1] != outputs:
            raise UserError(f"The targets have {data.targets.shape[1]} columns and the model has {outputs} outputs: "
                            "build it with as many outputs as there are classes.")  # fmt: skip
