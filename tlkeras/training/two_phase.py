"""Two-phase transfer learning: the head on a frozen backbone, then the top of the backbone at a lower learning rate."""

import logging
import time

import keras

from tlkeras.config.fields import check_values
from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError
from tlkeras.models.freezing import FrozenWeights, set_trainable
from tlkeras.models.introspect import decoded_input, get_spec, model_modality
from tlkeras.training.checkpoint import Checkpoint, Checkpoints
from tlkeras.training.phase import PhaseTrainer, TrainingResult, plan_phases
from tlkeras.training.phase_inputs import PhaseInputs, prepare_phases
from tlkeras.training.state import assign_all

log = logging.getLogger("tlkeras")


def train_two_phases(
    model: keras.Model,
    train: SplitData,
    validation: SplitData,
    options: TrainingOptions,
    checkpoints: Checkpoints | None = None,
) -> TrainingResult:
    """Train a model from `build_classifier` in place.

    Each phase has its own optimizer, schedule and callbacks. Of each phase the best epoch on validation is kept, and
    phase 1's model when phase 2 does not beat it. After each phase the program proves that nothing moved that was
    frozen.

    Args:
        model: from `build_classifier`.
        train: the training split.
        validation: the validation split, which chooses the epoch and nothing else.
        options: epochs, learning rates and all else; `TrainConfig` is one too. Dropout and hidden layers start from
            Keras' own seed: call `keras.utils.set_random_seed` before the model is built to repeat a run.
        checkpoints: where each epoch is saved, and where a stopped training resumes; model, data and options must then
            be what they were. It ends bit by bit as if it had not been stopped.

    Returns:
        History, times, and which epoch was kept. The model holds the kept weights.

    Raises:
        UserError: an option is not valid, the examples or targets do not fit the model, the frozen weights are not
            those of the checkpoints, or the loss of phase 1 became NaN or infinite, with what to lower.
        RuntimeError: a frozen weight moved.

    Example:
        >>> options = tlkeras.TrainingOptions(frozen_epochs=5)
        >>> result = tlkeras.train_two_phases(model, splits["train"], splits["validation"], options)
    """
    check_values(options)
    check_data(model, train, validation)
    options = options.with_defaults(get_spec(model).finetune_from)
    saved = checkpoints.latest() if checkpoints else None
    result = TrainingResult(**saved.state["result"]) if saved else TrainingResult()
    start = time.perf_counter()
    inputs = prepare_phases(model, train, validation, options)
    result.seconds["features"] = result.seconds.get("features", 0.0) + time.perf_counter() - start
    for phase in plan_phases(model, options):
        count = set_trainable(model, phase.unfreeze)
        if saved and phase.name == "frozen" and saved.state["phase"] == "finetune":
            continue  # it was done before the stop; the checkpoint holds its result
        log.info("%s: %s.", phase, count)
        frozen = FrozenWeights(model)
        trainer = PhaseTrainer(model, inputs[phase.name], phase, train, options, result)
        if saved and saved.state["phase"] == phase.name:
            check_same(frozen, inputs, saved)
            trainer.restore(saved)
        try:
            trainer.fit(checkpoints, {"frozen": frozen.digest(), "cached": cached(inputs)})
        except UserError as error:  # the loss became infinite
            if not result.best:
                raise
            log.warning("%s Phase 1's model is kept.", error)
            assign_all(model.trainable_weights, trainer.before)
            break
        frozen.check()
        if trainer.best.best > result.best:
            result.best, result.kept, result.epoch = trainer.best.best, phase.name, trainer.best.epoch + 1
        else:
            assign_all(model.trainable_weights, trainer.before)
            log.info("Phase 2 did not beat phase 1 on validation: phase 1's model is kept.")
    set_trainable(model, "none")
    return result


def cached(inputs: dict[str, PhaseInputs]) -> dict[str, bool]:
    """Return which phases run on features that were computed once."""
    return {name: of_phase.cached for name, of_phase in inputs.items()}


def check_same(frozen: FrozenWeights, inputs: dict[str, PhaseInputs], saved: Checkpoint) -> None:
    """Refuse to resume with other frozen weights or other inputs than the training started with.

    Raises:
        UserError: they are others.
    """
    if frozen.digest() != saved.state["frozen"]:
        raise UserError(
            "The backbone's weights are not those that this run started with: the weight file has changed. Put it back "
            "to resume, or start over."
        )
    if cached(inputs) != saved.state["cached"]:
        raise UserError(
            "When this run started, there was another amount of room for features in memory or on disk. Give "
            "--memory-gb "
            # [part: feature-cache]
            "and --cache-gb "
            # [/part]
            "as much as then."
        )


def check_data(model: keras.Model, train: SplitData, validation: SplitData) -> None:
    """Refuse examples and targets that do not fit the model.

    Raises:
        UserError: with both sizes.
    """
    modality, wanted, outputs = model_modality(model), decoded_input(model).shape[1:], model.output_shape[-1]
    for data in (train, validation):
        if data.modality is not modality:
            raise UserError(
                f"The model takes {modality.plural}, and {data.modality.plural} were given. Build it with another "
                "backbone."
            )
        modality.check_shape(data.inputs.shape[1:], wanted)
        if data.targets.shape[1] != outputs:
            raise UserError(
                f"The targets have {data.targets.shape[1]} columns and the model has {outputs} outputs: build it with "
                "as many outputs as there are classes."
            )
