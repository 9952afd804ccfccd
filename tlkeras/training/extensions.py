"""Check loss, metrics, callbacks and augmentation of one's own before anything is trained."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from tlkeras.config.extensions import Extensions, name_of
from tlkeras.config.train import TrainingOptions
from tlkeras.data.own_augment import OwnAugmentation
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError, first_sentence

log = logging.getLogger("tlkeras")

# What the history and `metrics.json` have of their own.
TAKEN = {
    "accepted", "accuracy", "average_precision", "balanced_accuracy", "brier", "classes", "confusion_matrix", "correct",
    "count", "ece", "epoch", "exact_match", "interval_methods", "intervals_95", "learning_rate", "loss", "macro_f1",
    "macro_precision", "macro_recall", "mae", "majority_accuracy", "mse", "phase", "r2", "rmse", "roc_auc",
    "top_3_accuracy", "top_5_accuracy", "weighted_f1", "weighted_precision", "weighted_recall",
}  # fmt: skip
TASK_METRIC = {"single_label": "accuracy", "multi_label": "accuracy", "regression": "mae"}
SCHEDULERS = (keras.callbacks.LearningRateScheduler, keras.callbacks.ReduceLROnPlateau)


def resolve_extensions(given: Extensions, train: SplitData, options: TrainingOptions) -> Extensions:
    """Return them as objects of Keras; refuse what does not fit the data, or options that have no effect with them."""
    for callback in given.callbacks:
        if not isinstance(callback, keras.callbacks.Callback):
            raise UserError(f"callbacks holds {callback!r}; give objects of keras.callbacks.Callback.")
        if isinstance(callback, SCHEDULERS) and (options.schedule != "constant" or options.warmup):
            raise UserError(
                f"{type(callback).__name__} sets the learning rate, and so does the schedule of the phases. Give "
                "schedule='constant' and warmup=0.0 with it, or leave it out."
            )
    metrics = own_metrics(given.metrics, train.targets)
    check_monitors(given.callbacks, [TASK_METRIC[train.task or "single_label"], *(metric.name for metric in metrics)])
    return replace(
        given,
        loss=given.loss if given.loss is None else own_loss(given.loss, train.targets, options),
        metrics=metrics,
        augment=given.augment if given.augment is None else own_augmentation(given.augment, train),
    )


def check_monitors(callbacks: Sequence[Any], metrics: Sequence[str]) -> None:
    """Refuse a callback that watches a metric that no epoch has; Keras would fail after the first one, or not act."""
    known = [*(f"{prefix}{name}" for name in ("loss", *metrics) for prefix in ("", "val_")), "learning_rate"]
    for callback in callbacks:
        if (name := getattr(callback, "monitor", "loss")) not in known:
            raise UserError(f"{type(callback).__name__} has monitor={name!r}; give one of {', '.join(known)}.")


def own_loss(given: Any, targets: np.ndarray, options: TrainingOptions) -> Any:
    """Return a loss by its name, or as it is; try it on targets as they are, `(B, K)` float32."""
    if options.label_smoothing or options.class_weights != "none":
        raise UserError("--label-smoothing and --class-weights are of the built-in loss; leave them out with loss=.")
    some = targets[:2]
    try:
        loss = keras.losses.get(given)
        value = np.asarray(loss(some, np.full_like(some, 1 / some.shape[1])))
    except Exception as error:  # of many kinds
        raise cannot("loss", given, some, error) from error
    if not np.isfinite(value).all():
        raise UserError(f"loss={name_of(given)} is {value} for even outputs {some.shape}; give a loss that is finite.")
    return loss


def own_metrics(given: Sequence[Any], targets: np.ndarray) -> list[keras.metrics.Metric]:
    """Return metrics by their names, or as they are; each must give one number."""
    found: list[keras.metrics.Metric] = []
    some = targets[:2]
    for one in given:
        if one == "accuracy":  # which is there already
            continue
        try:
            metric = keras.metrics.get(one)
            if not isinstance(metric, keras.metrics.Metric):
                name = name_of(one).replace("<lambda>", f"metric_{len(found) + 1}")
                metric = keras.metrics.MeanMetricWrapper(metric, name=name)
            metric.update_state(some, np.full_like(some, 1 / some.shape[1]))
            shape = np.asarray(metric.result()).shape
            metric.reset_state()
        except Exception as error:  # of many kinds
            raise cannot("metrics", one, some, error) from error
        if shape:
            raise UserError(f"metrics={metric.name} gives an array of shape {shape}; give one number, as "
                            "F1Score(average='macro') does.")  # fmt: skip
        if metric.name in TAKEN | {other.name for other in found}:
            raise UserError(f"metrics has {metric.name}, and there is one of this name already; give it another name=.")
        found.append(metric)
    return found


def cannot(argument: str, given: Any, targets: np.ndarray, error: Exception) -> UserError:
    """Return the error for a loss or metric that cannot be computed."""
    return UserError(
        f"{argument}={name_of(given)} cannot be used: {first_sentence(error)}. It must give one number "
        f"for float32 targets and outputs, both of shape (B, {targets.shape[1]}); classes are one-hot."
    )


def own_augmentation(given: Any, train: SplitData) -> OwnAugmentation:
    """Return an augmentation that was tried on the first images."""
    if not train.modality.augmentable:
        raise UserError(f"augment= is for images, and these are {train.modality.plural}; leave it out.")
    own = OwnAugmentation(given)
    own.check(train.first(2)[0])
    log.info(
        "Note: augment= takes the place of flips, crops, rotation and color jitter. Its features are not kept for the "
        "next run, as nothing tells whether it is still the same."
    )
    return own


def values_of(metrics: Sequence[keras.metrics.Metric], targets: np.ndarray, outputs: np.ndarray) -> dict[str, float]:
    """Return metrics of one's own by name, over all examples at once."""
    values = {}
    for metric in metrics:
        metric.reset_state()
        metric.update_state(targets, outputs)
        values[metric.name] = float(metric.result())
        metric.reset_state()
    return values
