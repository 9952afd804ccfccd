"""The work of `scripts/train.py`: options in, a run's folder out."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.unfreeze import parse_unfreeze
from tlkeras.config.fields import Task
from tlkeras.config.train import TrainConfig
from tlkeras.data.loading import available_cores
from tlkeras.run.artifacts import versions, write_json, write_table
from tlkeras.run.folder import CHECKPOINTS, MODEL
from tlkeras.run.job import Inputs, Job, run_job
from tlkeras.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    import keras

    from tlkeras.data.pipeline import SplitData
    from tlkeras.training.two_phase import TrainingResult

log = logging.getLogger("tlkeras")


def train(config: TrainConfig) -> Path:
    """Train, evaluate and write one run, or resume it.

    Args:
        config: all options.

    Returns:
        The run's folder.

    Raises:
        UserError: for a mistake in options or data; nothing is left behind.

    Example:
        >>> run = tlkeras.train(tlkeras.TrainConfig(data="photos"))
    """
    config.check()
    job = Job(
        "Run",
        MODEL,
        train_and_write,
        check=check_unfreeze,
        resolve=lambda config, spec: config.with_defaults(spec.finetune_from, config.weights != "none"),
        stored_params=stored_params,
    )
    return run_job(job, config, get_backbone_spec(config.backbone))


def check_unfreeze(config: TrainConfig, spec: BackboneSpec) -> None:
    """Refuse what phase 2 cannot unfreeze, where the stages are known."""
    if spec.stages:
        parse_unfreeze(spec, config.unfreeze or spec.finetune_from)


def stored_params(config: TrainConfig, spec: BackboneSpec) -> int:
    """Return the parameters that model and three checkpoints take on the disk."""
    unfreeze = config.unfreeze or ("all" if config.weights == "none" or len(spec.stages) == 1 else "")
    return (16 if unfreeze == "all" else 6) * spec.num_params


def train_and_write(job: Inputs) -> None:
    """Build, train and evaluate the model, and write everything into the folder."""
    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.metrics import format_metrics
    from tlkeras.evaluation.plots import plot_history
    from tlkeras.models.introspect import without_resizing
    from tlkeras.run.model_file import save_run
    from tlkeras.training.two_phase import train_two_phases

    config, data, folder = job.config, job.data, job.folder
    splits = split_data(data)
    model = build(config, job.spec, data.task, splits["train"])
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    result = train_two_phases(model, splits["train"], splits["validation"], config, checkpoints)
    metrics = evaluate_splits(without_resizing(model), splits, config.batch_size, data.task)
    save_run(model, config, data, splits["validation"].first(16)[0], folder)
    write_table(folder / "history.csv", result.history)
    plot_history(result.history, result.epoch, folder / "curves.png")
    write_json(folder / "metrics.json", metrics | run_metadata(config, result))
    plural = data.modality.plural
    for name, values in metrics.items():
        log.info("%s %s", f"{name.capitalize()}:".ljust(11), format_metrics(values, plural))
    if "test" not in metrics:
        log.info("Note: the validation %s chose the epoch, so their metrics are slightly optimistic; no test split.",
                 plural)  # fmt: skip


def build(config: TrainConfig, spec: BackboneSpec, task: Task, train: "SplitData") -> "keras.Model":
    """Build the model of a run; log where the backbone's weights come from.

    Args:
        config: all options.
        spec: the backbone.
        task: what a label is.
        train: the training split, which calibrates random weights and, for regression, the unit of the output.
    """
    from tlkeras.models.builders import build_classifier

    unit = {}
    if task == "regression":
        unit = {"target_mean": float(train.targets.mean()), "target_std": float(train.targets.std()) or 1.0}
    model = build_classifier(
        spec.adapt_to(lambda: train.first(len(train))[0]),
        num_outputs=train.targets.shape[1],
        task=task,
        weights=config.weights,
        image_size=config.image_size,
        pooling=config.pooling,
        hidden_units=config.hidden_units,
        dropout=config.dropout,
        l2=config.l2,
        precision=config.precision,
        **unit,
    )
    if config.weights == "none":
        log.info("Note: the backbone has random weights, so this trains from scratch; nothing is transferred.")
        from tlkeras.models.batch_norm import calibrate_batch_norm

        calibrate_batch_norm(model, train.spread(128)[0])
    return model


def evaluate_splits(
    model: "keras.Model", splits: dict[str, "SplitData"], batch_size: int, task: Task
) -> dict[str, dict[str, Any]]:
    """Return the metrics of each split, every example once, without augmentation.

    Args:
        model: from decoded examples, such as resized pixels `(B, S, S, 3)`, to outputs `(B, K)`.
        splits: by name.
        batch_size: examples per step.
        task: what a label is.

    Returns:
        By the name of the split what `tlkeras.evaluation.metrics.compute_metrics` returns.
    """
    from tlkeras.data.pipeline import evaluation_batches
    from tlkeras.evaluation.metrics import compute_metrics

    return {
        name: compute_metrics(model.predict(evaluation_batches(split, batch_size), verbose=0), split.targets, task)
        for name, split in splits.items()
    }


def run_metadata(config: TrainConfig, result: "TrainingResult") -> dict[str, Any]:
    """Return what else is needed to interpret the metrics and to repeat them."""
    return {
        "kept_phase": result.kept,
        "kept_epoch": result.epoch,
        "seconds": {phase: round(seconds, 2) for phase, seconds in result.seconds.items()},
        "seed": config.seed,
        "cpu_count": available_cores(),
        "versions": versions(),
    }
