"""The work of `scripts/train.py`: options in, a run's folder out."""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.extensions import Extensions
from tlkeras.config.fields import Task, with_options
from tlkeras.config.train import TrainConfig, with_epochs
from tlkeras.data.loading import available_cores
from tlkeras.data.prepare import PreparedData, name_data
from tlkeras.errors import UserError
from tlkeras.progress import passing, stage, stage_seconds
from tlkeras.run.artifacts import MODEL, check_reload, save_run, versions, write_json, write_table
from tlkeras.run.folder import CHECKPOINTS
from tlkeras.run.job import Job, run_job
from tlkeras.run.load_run import THRESHOLDS
from tlkeras.run.predictions import save_predictions
from tlkeras.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    import keras

    from tlkeras.data.pipeline import SplitData
    from tlkeras.training.two_phase import TrainingResult

COMPARED = 4  # examples on which the saved model is compared with the trained one
log = logging.getLogger("tlkeras")


def train(
    config: TrainConfig | None = None,
    /,
    *,
    data: Any = None,
    epochs: tuple[int, int] | None = None,
    backbone: Any = None,
    callbacks: Sequence[Any] = (),
    loss: Any = None,
    metrics: Sequence[Any] = (),
    head: Any = None,
    augment: Any = None,
    **options: Any,
) -> Path:
    """Train, evaluate and write one run, or resume it.

    Args:
        config: all options; or give them by keyword.
        data: a folder or CSV file, or data in memory, as for `prepare_data`.
        epochs: `(frozen_epochs, finetune_epochs)` of the two phases.
        backbone: a name, or a Keras model from RGB pixels `(B, S, S, 3)`, 0–255, to features `(B, h, w, C)` or
            `(B, C)`.
        callbacks: Keras callbacks, called in both phases. Their `self.model` is the part that is trained: with cached
            features only the layers above them. A run that is resumed starts them anew.
        loss: a Keras loss, its name, or a function of targets and outputs `(B, K)`, in place of the task's own.
        metrics: Keras metrics, their names, or functions: shown per epoch, and in `metrics.json` for each split.
        head: a Keras layer, or a function, from pooled features `(B, C)` to `(B, F)`, before the output layer.
        augment: a function of uint8 images `(B, S, S, 3)`, RGB 0–255, to the same, or a Keras layer or a list of them,
            in place of the built-in augmentation. It is seeded for each epoch.
        **options: any other option of `TrainConfig`, such as `image_size=128`.

    Returns:
        The run's folder; with `find_learning_rates` the file of the plot.

    Raises:
        UserError: for a mistake in options or data; nothing is left behind.

    Example:
        >>> run = tlkeras.train(data="photos", epochs=(5, 5))
    """
    if isinstance(backbone, str):
        options, backbone = options | {"backbone": backbone}, None
    chosen, data = name_data(make_config(config, epochs, options), data)
    chosen.check()
    given = Extensions(callbacks, loss, metrics, head, augment, backbone)
    spec = get_backbone_spec(chosen.backbone if backbone is None else backbone)
    # [part: learning-rate]
    if chosen.find_learning_rates:
        from tlkeras.run.learning_rate import suggest_rates

        return suggest_rates(chosen, spec, data, given)
    # [/part]
    work = partial(train_and_write, given=given)
    job = Job("Run", MODEL, work, stored_params=stored_params, given=given.names())
    # [part: cluster]
    if chosen.cluster:
        if augment is not None:
            raise UserError("--cluster goes without an augmentation of your own: its randomness is that of an epoch.")
        from tlkeras.cluster import connected

        with connected(chosen.cluster):
            return run_job(job, chosen, spec, data)
    # [/part]
    return run_job(job, chosen, spec, data)


def make_config(config: TrainConfig | None, epochs: Any, options: dict[str, Any]) -> TrainConfig:
    """Return the config that `train` was given, as one or by keyword."""
    if config is not None and not isinstance(config, TrainConfig):
        raise UserError(f"A {type(config).__name__} was given; it must be a TrainConfig. Give data as train(data=...).")
    return with_options(config or TrainConfig(), with_epochs(epochs, options), "train")


def stored_params(config: TrainConfig, spec: BackboneSpec) -> int:
    """Return the parameters that model and three checkpoints take on the disk."""
    everything = config.weights == "none" or len(spec.stages) == 1
    unfreeze = config.unfreeze or ("all" if everything else spec.default_unfreeze(config.image_size))
    return (16 if unfreeze == "all" else 6) * spec.num_params


def train_and_write(
    config: TrainConfig, spec: BackboneSpec, data: PreparedData, folder: Path, *_: Any, given: Extensions
) -> None:
    """Build, train and evaluate the model, and write everything into the folder."""
    with stage("tensorflow"):
        from tlkeras.data.pipeline import split_data
        from tlkeras.training.two_phase import train_two_phases

    splits = split_data(data)
    make = build
    # [part: devices]
    from tlkeras.training.distribute import on_devices

    make = on_devices(config.devices, build)
    # [/part]
    with stage("model"):
        model = make(config, spec, splits["train"], given.head)
    if given.head is not None or given.backbone is not None:
        check_reload(model)
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    callbacks = given.callbacks
    # [part: tracking]
    from tlkeras.run.tracking import EpochTracker, finish_tracking, start_tracking

    if tracker := start_tracking(config, folder):
        callbacks = [*callbacks, EpochTracker(tracker)]
    # [/part]
    result = train_two_phases(
        model, splits["train"], splits["validation"], config, checkpoints,
        callbacks=callbacks, loss=given.loss, metrics=given.metrics, augment=given.augment,
    )  # fmt: skip
    metrics = evaluate_and_write(model, splits, config, data, folder, given, result)
    log_metrics(metrics, data.modality.plural)
    if "test" not in metrics:
        log.info("Note: validation chose the epoch, so its metrics are slightly optimistic.")
    # [part: report]
    from tlkeras.run.report import report_training

    with stage("report"):
        report_training(folder, Path(str(config.run_dir)), model, data, splits)
    # [/part]
    # [part: tracking]
    if tracker:
        finish_tracking(tracker, folder, result.history, metrics)
    # [/part]
    spent = ", ".join(f"{name} {seconds:.1f}" for name, seconds in (stage_seconds | result.seconds).items())
    log.log(logging.INFO if config.verbose else logging.DEBUG, "Seconds: %s.", spent)


def evaluate_and_write(
    model: "keras.Model", splits: dict[str, "SplitData"], config: TrainConfig, data: PreparedData, folder: Path,
    given: Extensions, result: "TrainingResult",
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Calibrate and evaluate a trained model, write it and all that is known of it, and return the metrics."""
    from tlkeras.evaluation.outputs import head_outputs, pooled_features
    from tlkeras.evaluation.plots import plot_history

    with stage("evaluation"):
        features = pooled_features(model, splits, config, result.inputs)
        outputs = head_outputs(model, {"validation": features["validation"]})
        calibration = calibrate(model, outputs["validation"], splits["validation"].targets, config, data.task)
        outputs = head_outputs(model, features)  # calibrated
        thresholds = find_thresholds(outputs["validation"], splits["validation"], config, data.task)
        metrics = evaluate_splits(outputs, splits, data.task, given.metrics, thresholds)
    with stage("saving"), passing("Saving"):
        save_run(model, config, data, splits["validation"].first(COMPARED)[0], folder, given.names())
    save_predictions(folder, data, {name: split.targets for name, split in splits.items()}, outputs)
    if thresholds:
        write_json(folder / THRESHOLDS, thresholds)
    save_known(features, splits, outputs["validation"], thresholds, data.task, folder)
    write_table(folder / "history.csv", result.history)
    plot_history(result.history, result.epoch, folder / "curves.png")
    metadata = {
        "kept_phase": result.kept,
        "kept_epoch": result.epoch,
        "monitor": result.monitor,
        "monitor_value": result.value,
        "calibration": calibration,
        "engine": result.inputs.engine if result.inputs and result.inputs.features else None,
        "seconds": {name: round(seconds, 2) for name, seconds in (stage_seconds | result.seconds).items()},
        "seed": config.seed,
        "cpu_count": available_cores(),
        "versions": versions(),
    }
    write_json(folder / "metrics.json", metrics | metadata)
    return metrics


def build(config: TrainConfig, spec: BackboneSpec, train: "SplitData", head: Any = None) -> "keras.Model":
    """Build the model of a run; the training split calibrates random weights and, for regression, the output's unit."""
    from tlkeras.models.builders import build_classifier

    model = build_classifier(
        spec.adapt_to(lambda: train.first(len(train))[0]),
        train,
        weights=config.weights,
        image_size=config.image_size,
        pooling=config.pooling,
        hidden_units=config.hidden_units,
        dropout=config.dropout,
        l2=config.l2,
        precision=config.precision,
        head=head,
    )
    if config.weights == "none":
        log.info("Note: the backbone has random weights, so this trains from scratch; nothing is transferred.")
        from tlkeras.models.batch_norm import calibrate_batch_norm

        calibrate_batch_norm(model, train.spread(128)[0])
    return model


def calibrate(model: "keras.Model", outputs: np.ndarray, targets: np.ndarray, config: TrainConfig, task: Task) -> Any:
    """Calibrate a model in place where its validation outputs `(N, K)` allow it; return what `metrics.json` says."""
    from tlkeras.evaluation.calibration import choose_calibration

    if config.calibration == "none":
        return "switched off"
    calibration, values = choose_calibration(outputs, targets, task)
    if calibration is not None:
        calibration.fold_into(model.get_layer("output"))
        log.info("Calibrated on validation: expected calibration error %.3f before, %.3f after.",
                 values["ece_before"], values["ece_after"])  # fmt: skip
    return values


def find_thresholds(outputs: np.ndarray, validation: "SplitData", config: TrainConfig, task: Task) -> dict[str, Any]:
    """Return what `thresholds.json` holds, by validation outputs `(N, K)`; nothing for regression."""
    from tlkeras.evaluation.thresholds import choose_thresholds

    if not validation.classes:
        return {}
    return choose_thresholds(outputs, validation.targets, task, validation.classes, config.wanted_accuracy)


def save_known(
    features: Mapping[str, Any], splits: dict[str, "SplitData"], outputs: np.ndarray,
    thresholds: dict[str, Any], task: Task, folder: Path,
) -> None:  # fmt: skip
    """Write what tells other examples from known ones by their features, where validation has enough of these."""
    from tlkeras.evaluation.known import MAX_EXAMPLES, MAX_HELD_OUT, MIN_EXAMPLES, fit_known

    train, validation = splits["train"], splits["validation"]
    if len(validation) < MIN_EXAMPLES:
        return
    rows = np.unique(np.linspace(0, len(train) - 1, MAX_EXAMPLES).astype(int))
    held_out_rows = np.unique(np.linspace(0, len(validation) - 1, MAX_HELD_OUT).astype(int))
    training, held_out, outputs = features["train"][rows], features["validation"][held_out_rows], outputs[held_out_rows]
    known = fit_known(training, train.targets[rows], held_out) if task == "single_label" else None
    if known:
        known.save(folder)
    # [part: drift]
    from tlkeras.evaluation.known import find_unsure
    from tlkeras.evaluation.reference import fit_reference

    threshold = (thresholds.get("reject") or {}).get("threshold")
    unsure = find_unsure(outputs, held_out, known, threshold)
    fit_reference(training, held_out, outputs, unsure, task).save(folder)
    # [/part]


def evaluate_splits(
    outputs: dict[str, np.ndarray], splits: dict[str, "SplitData"], task: Task, own: Sequence[Any] = (),
    thresholds: dict[str, Any] | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """Return the metrics of each split by its name, of outputs `(N, K)`; metrics of one's own come after the others."""
    from tlkeras.evaluation.metrics import compute_metrics
    from tlkeras.evaluation.thresholds import accepted_metrics
    from tlkeras.training.extensions import own_metrics, values_of

    metrics = {}
    for name, given in outputs.items():
        targets = splits[name].targets
        metrics[name] = compute_metrics(given, targets, task, splits[name].classes)
        if reject := (thresholds or {}).get("reject"):
            metrics[name]["accepted"] = accepted_metrics(given, targets, reject["threshold"])
        if own:
            metrics[name] |= values_of(own_metrics(own, targets), targets, given)
    return metrics


def log_metrics(metrics: dict[str, dict[str, Any]], plural: str) -> None:
    """Log a line for each split, of examples that are called so."""
    from tlkeras.evaluation.metrics import format_metrics

    for name, values in metrics.items():
        log.info("%s %s", f"{name.capitalize()}:".ljust(11), format_metrics(values, plural))
