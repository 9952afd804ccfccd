"""The whole road of `scripts/train.py`: options in, a run's folder out."""

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkeras.backbones import Backbone, check_image_size
from tlkeras.config import Task, TrainConfig
from tlkeras.data.prepare import PreparedData, decode_data, find_data
from tlkeras.data.loading import available_cores
from tlkeras.extras.kerashub.presets import check_encoder_weights, check_tokens
from tlkeras.extras.hub.spec import resolve_spec
from tlkeras.run.folder import CHECKPOINTS, MODEL, check_space, choose_run_dir, is_complete, run_directory
from tlkeras.run.fingerprint import check_finished, check_fingerprint
from tlkeras.run.artifacts import versions, write_history, write_json
from tlkeras.runtime import load_tensorflow
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.backbones.unfreeze import parse_unfreeze
from tlkeras.backbones.weight_files import check_weights_option

if TYPE_CHECKING:
    import keras

    from tlkeras.data.pipeline import SplitData
    from tlkeras.training.two_phase import TrainingResult

log = logging.getLogger("tlkeras")


def train(config: TrainConfig) -> Path:
    """Train, judge and write one run.

    What can be wrong is looked at in the order of what it costs: options, files, examples, and only then TensorFlow.

    Args:
        config: all options.

    Returns:
        The run's folder.

    Raises:
        UserError: for a mistake in options or data; nothing is left behind.
    """
    config.check()
    spec = resolve_spec(config.backbone, config.pixel_range)
    if spec.handle:
        config = dataclasses.replace(config, weights="module")
    if spec.preset:
        check_encoder_weights(spec, config.weights)
        check_tokens(spec, config.sequence_length)
        config = dataclasses.replace(config, weights="none" if config.weights == "none" else "preset")
    check_image_size(spec, config.image_size)
    if spec.stages:
        parse_unfreeze(spec, config.unfreeze or spec.finetune_from)
    path = choose_run_dir(config.run_dir, config.overwrite, MODEL if config.resume else None, config.data, spec.name)
    if config.resume and is_complete(path, MODEL):
        check_finished(path / "config.yaml", dataclasses.replace(config, backbone=spec.name))
        print(f"Run: {path} (it was finished before)")
        return path
    with run_directory(path, config.overwrite, config.resume) as folder:
        found = find_data(config, spec, config.image_size, config.seed)
        spec = found.spec
        parse_unfreeze(spec, config.unfreeze or spec.finetune_from)  # of a preset that was not here before
        everything = (config.unfreeze or "all") == "all" and (config.unfreeze or config.weights in ("none", "module"))
        check_space(folder, (16 if everything else 6) * spec.parameters)  # with three checkpoints
        dataclasses.replace(config, task=found.source.task).check()
        if not (spec.module or spec.preset):
            check_weights_option(spec, config.weights, found.form.image_size)
        data = decode_data(found, config, config.seed)
        resolved = dataclasses.replace(
            config.with_defaults(spec.finetune_from, pretrained=config.weights != "none"),
            task=data.task,
            image_size=data.image_size,
            sample_rate=data.form.rate,
            seconds=data.form.seconds,
            backbone=spec.name,
            run_dir=str(path),
            overwrite=False,
            resume=False,
        )
        check_fingerprint(folder / CHECKPOINTS, resolved, data, spec.digest)
        load_tensorflow(config.seed)
        train_and_write(resolved, spec, data, folder)
    print(f"Run: {path}")
    return path


def train_and_write(config: TrainConfig, spec: Backbone, data: PreparedData, folder: Path) -> None:
    """Build, train and measure the model, and write everything into the folder.

    Args:
        config: all options.
        row: the backbone.
        data: decoded examples and their splits.
        folder: where everything goes.
    """
    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.plots import plot_history
    from tlkeras.evaluation.metrics import format_metrics
    from tlkeras.run.model_file import save_run
    from tlkeras.training.phase_inputs import without_resizing
    from tlkeras.training.two_phase import train_two_phases

    splits = split_data(data)
    model = build(config, spec, data.task, splits["train"])
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    result = train_two_phases(model, splits["train"], splits["validation"], config, checkpoints)
    figures = evaluate_splits(without_resizing(model), splits, config.batch_size, data.task)
    save_run(model, config, data, splits["validation"].first(16)[0], folder)
    write_history(folder / "history.csv", result.history)
    plot_history(result.history, result.epoch, folder / "curves.png")
    write_json(folder / "metrics.json", figures | run_metadata(config, result))
    for name, values in figures.items():
        log.info("%s %s", f"{name.capitalize()}:".ljust(11), format_metrics(values, data.form.name))
    if "test" not in figures:
        log.info(
            "Note: the validation %s chose the epoch, so their figure is a little too good; no test split.",
            data.form.name,
        )


def build(config: TrainConfig, spec: Backbone, task: Task, train: "ExampleSet") -> "keras.Model":
    """The model of a run; says where the backbone's weights come from.

    Args:
        config: all options.
        row: the backbone.
        task: what a label is.
        train: the training split, which calibrates random weights and, for regression, the unit of the output.
    """
    from tlkeras.models.builders import build_classifier
    from tlkeras.models.batch_norm import calibrate_batch_norm

    unit = {}
    if task == "regression":
        unit = {"target_mean": float(train.targets.mean()), "target_deviation": float(train.targets.std()) or 1.0}
    model = build_classifier(
        spec,
        num_outputs=train.targets.shape[1],
        task=task,
        weights=config.weights,
        image_size=config.image_size,
        pooling=config.pooling,
        hidden_units=config.hidden_units,
        dropout=config.dropout,
        l2=config.l2,
        precision=config.precision,
        pixel_range=config.pixel_range,
        sequence_length=config.sequence_length,
        texts=train.first(len(train))[0] if spec.preset else None,
        **unit,
    )
    if config.weights == "none":
        log.info("Note: the backbone starts from random weights, so this trains from scratch; nothing is transferred.")
        calibrate_batch_norm(model, train.spread(128)[0])
    return model


def evaluate_splits(
    view: "keras.Model", splits: dict[str, "ExampleSet"], batch_size: int, task: Task
) -> dict[str, dict[str, Any]]:
    """The figures of each split, every example once, without augmentation.

    Args:
        view: from decoded examples, such as resized pixels `(B, S, S, 3)`, to outputs `(B, K)`.
        splits: by name.
        batch_size: examples in a step.
        task: what a label is.

    Returns:
        By the name of the split what `tlkeras.evaluation.metrics.measure` gives.
    """
    from tlkeras.data.pipeline import evaluation_batches
    from tlkeras.evaluation.metrics import compute_metrics

    return {
        name: compute_metrics(view.predict(evaluation_batches(split, batch_size), verbose=0), split.targets, task)
        for name, split in splits.items()
    }


def run_metadata(config: TrainConfig, result: "TrainingResult") -> dict[str, Any]:
    """What else is needed to judge the figures and to repeat them."""
    return {
        "kept_phase": result.kept,
        "kept_epoch": result.epoch,
        "seconds": {phase: round(seconds, 2) for phase, seconds in result.seconds.items()},
        "seed": config.seed,
        "cpu_count": available_cores(),
        "versions": versions(),
    }
