"""Outputs and targets of a split, every example once, to metrics with their count and intervals."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn import metrics

from tlkeras.config.fields import Task
from tlkeras.evaluation import intervals
from tlkeras.evaluation.calibration import log_losses

HIGH_BASELINE = 0.8  # accuracy without looking at the input from which the metrics say so
TOP_K = (3, 5)  # for top-k accuracy, where there are more classes
MAX_NAME = 45  # characters of a class, so that a line of the table has 80
MAX_CONFUSED = 100  # classes; of more the confusion matrix would fill metrics.json

LABELS = {
    "loss": "loss", "accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1",
    "weighted_f1": "weighted F1", "roc_auc": "ROC AUC", "brier": "Brier score", "ece": "calibration error (ECE)",
    "mae": "mean absolute error", "mse": "mean squared error", "rmse": "root mean squared error", "r2": "R²",
    "majority_accuracy": "accuracy of the majority class",
}  # fmt: skip


def compute_metrics(
    outputs: np.ndarray, targets: np.ndarray, task: Task, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the metrics of one split, every example once, with their 95% confidence intervals.

    Args:
        outputs: float32 `(N, K)`, the model's outputs: probabilities, or numbers for regression.
        targets: float32 `(N, K)`: one-hot, multi-hot, or numbers.
        task: how to compare them.
        classes: names of the K classes, in order, where the metrics of each are wanted, too.

    Returns:
        Always "count", "loss" (log loss without label smoothing or penalties; squared error), "intervals_95", a
        `[low, high]` for each of the metrics, and "interval_methods". Of labels "accuracy", "balanced_accuracy",
        macro and weighted "precision", "recall" and "f1", "roc_auc" and "average_precision" (one against the rest, as
        a mean over the classes that have both), "brier" (halved for two classes) and "ece", the expected calibration
        error; "majority_accuracy", that of the most common answer, whatever the input. single_label: also "correct",
        "confusion_matrix" (a row for each true class) and "top_3_accuracy" and "top_5_accuracy" of more classes than
        that. multi_label: "accuracy" is that of single decisions, at a threshold of 0.5, "exact_match" that of whole
        examples. regression: "mse", "rmse", "mae" and "r2" in the target's unit. With `classes` also "classes": what
        `per_class_metrics` returns, each with its "intervals_95". What is not defined, such as the "r2" of one example,
        is None.

    Example:
        >>> tlkeras.compute_metrics(model.predict(images), targets, "single_label")["accuracy"]
    """
    outputs, targets, count = outputs.astype("float64"), targets.astype("float64"), len(targets)
    correct: dict[str, int] = {}
    if task == "regression":
        exact = coarse = intervals.regression_statistics(outputs, targets)
    else:
        true, decided = decisions(outputs, targets, task)
        correct = count_correct(outputs, true, decided, task)
        given = row_values(outputs, true, decided, task), outputs, true, decided, task == "single_label"
        exact, coarse = (intervals.LabelStatistics(*given, points) for points in (count, intervals.POINTS))
    once, roughly = exact(np.ones((count, 1))), coarse(np.ones((count, 1)))
    resampled = intervals.bootstrap(coarse, count, targets.shape[1]) if count > 1 else {}
    for name in resampled.keys() & {"roc_auc", "average_precision"}:  # which fewer points make a little smaller
        resampled[name] = np.minimum(resampled[name] + (once[name] - roughly[name]), 1.0)
    values: dict[str, Any] = {"count": count} | {name: number / count for name, number in correct.items()}
    found = {name: intervals.wilson_interval(number, count) for name, number in correct.items()}
    for name in (name for name, value in once.items() if value.ndim == 1):
        values[name] = None if np.isnan(once[name][0]) else float(once[name][0])
        found[name] = intervals.interval(name, values[name], resampled)
    if task == "single_label":
        values["correct"] = correct["accuracy"]
        values |= confusion_matrix(true, decided)
    if task != "regression":
        values["majority_accuracy"] = majority_accuracy(true, task)
    values |= {"intervals_95": found, "interval_methods": intervals.METHODS if correct else intervals.BOOTSTRAP}
    if classes is not None and task != "regression":
        values["classes"] = per_class_metrics(outputs, targets, task, classes)
        for index, row in enumerate(values["classes"].values()):
            hit, chosen = int((true & decided)[:, index].sum()), int(decided[:, index].sum())
            row["intervals_95"] = {
                "precision": intervals.wilson_interval(hit, chosen),
                "recall": intervals.wilson_interval(hit, row["count"]),
                "f1": intervals.percentile_interval(resampled["f1"][index]) if resampled else None,
            }
    return values


def decisions(outputs: np.ndarray, targets: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """Return what is true and what was decided, bool `(N, K)`."""
    if task == "multi_label":
        return targets > 0.5, outputs >= 0.5
    every = np.arange(outputs.shape[1])
    return targets.argmax(axis=1)[:, None] == every, outputs.argmax(axis=1)[:, None] == every


def row_values(outputs: np.ndarray, true: np.ndarray, decided: np.ndarray, task: Task) -> dict[str, np.ndarray]:
    """Return the values of each example `(N,)` of which some metrics are the means."""
    squared, losses = (outputs - true) ** 2, log_losses(outputs, true, task).mean(axis=1)
    if task == "multi_label":
        return {"loss": losses, "accuracy": (decided == true).mean(axis=1), "brier": squared.mean(axis=1)}
    return {"loss": losses, "brier": squared.sum(axis=1) / (2 if outputs.shape[1] == 2 else 1)}


def count_correct(outputs: np.ndarray, true: np.ndarray, decided: np.ndarray, task: Task) -> dict[str, int]:
    """Return how many examples are correct, by the name of the metric that is their fraction."""
    right = int((decided == true).all(axis=1).sum())
    if task == "multi_label":
        return {"exact_match": right}
    correct, every = {"accuracy": right}, range(true.shape[1])
    for k in (k for k in TOP_K if k < len(every)):
        top = metrics.top_k_accuracy_score(true.argmax(axis=1), outputs, k=k, labels=every, normalize=False)
        correct[f"top_{k}_accuracy"] = int(top)
    return correct


def confusion_matrix(true: np.ndarray, decided: np.ndarray) -> dict[str, list[list[int]]]:
    """Return the counts of true classes (rows) and decided ones under their name; nothing for very many classes."""
    if true.shape[1] > MAX_CONFUSED:
        return {}
    every = range(true.shape[1])
    matrix = metrics.confusion_matrix(true.argmax(axis=1), decided.argmax(axis=1), labels=every)
    return {"confusion_matrix": matrix.tolist()}


def majority_accuracy(true: np.ndarray, task: Task) -> float:
    """Return the accuracy of always giving the most common answer, of several labels to each by itself."""
    common = true.mean(axis=0)
    return float(common.max() if task == "single_label" else np.maximum(common, 1 - common).mean())


def format_metrics(values: dict[str, Any], unit: str = "images") -> str:
    """Return the metrics of one split in a line, with the count of examples in words such as "images".

    Where the most common answer alone is as accurate, or nearly, the line says so.
    """
    count = f"{values['count']:,} {unit}"
    if "mae" in values:
        explained = "" if values["r2"] is None else f"; R² {values['r2']:.3f}"
        return f"mean absolute error {values['mae']:.4g} ({count}{explained})"
    if "correct" in values:
        low, high = values["intervals_95"]["accuracy"]
        count = f"{values['correct']:,} of {count}; 95% CI {low:.3f}–{high:.3f}"
        common = "always the majority class"
        correct = f"{values['accuracy']:.3f}"
    else:
        low, common = values["accuracy"], "always the majority of each label"
        correct = f"{values['accuracy']:.3f} of single labels, {values['exact_match']:.3f} with all labels correct"
    baseline = values.get("majority_accuracy", 0.0)  # earlier versions did not write it
    hint = f"; {common}: {baseline:.3f}" if min(low, HIGH_BASELINE) <= baseline < 1 else ""
    return f"accuracy {correct} ({count}{hint})"


def per_class_metrics(
    outputs: np.ndarray, targets: np.ndarray, task: Task, classes: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return precision, recall and F1 of each class.

    A precision without a decision for the class, and a recall without an example of it, are 0.

    Args:
        outputs: probabilities `(N, K)`.
        targets: `(N, K)`: one-hot or multi-hot.
        task: "single_label", or "multi_label" with a threshold of 0.5.
        classes: names of the K classes, in order.

    Returns:
        For each class by its name: "precision", "recall", "f1" and "count", how many examples have it.

    Example:
        >>> tlkeras.per_class_metrics(model.predict(images), targets, "single_label", ["ants", "bees"])["ants"]
    """
    true, decided = decisions(outputs, targets, task)
    found = metrics.precision_recall_fscore_support(true, decided, labels=range(len(classes)), zero_division=0.0)
    return {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "count": int(count)}
        for name, precision, recall, f1, count in zip(classes, *found, strict=True)
    }


def metrics_table(values: dict[str, Any]) -> str:
    """Return the metrics of one split as text, a line for each, with its 95% confidence interval."""
    rows = {metric_label(name): (values[name], interval) for name, interval in values["intervals_95"].items()}
    width = max(map(len, rows))
    lines = [f"{'metric':<{width}}    value  95% CI"]
    for name, (value, interval) in rows.items():
        shown = "" if interval is None else " to ".join(map(three_digits, interval))
        number = "undefined" if value is None else three_digits(value)
        lines.append(f"{name:<{width}}  {number:>7}  {shown}".rstrip())
    return "\n".join(lines)


def metric_label(name: str) -> str:
    """Return the name of a metric in words."""
    return LABELS.get(name) or re.sub(r"^top (\d+)", r"top-\1", name.replace("_", " "))


def three_digits(value: float) -> str:
    """Return a number with three significant digits, or all those before the point."""
    return f"{value:#.3g}" if abs(value) < 99.95 else f"{value:,.0f}"


def class_table(classes: dict[str, dict[str, float]]) -> str:
    """Return the result of `per_class_metrics` as text, a line for each class."""
    names = {name: name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…" for name in classes}
    width = max(len("class"), *map(len, names.values()))
    lines = [f"{'class':<{width}}  precision  recall     f1  count"]
    for name, row in classes.items():
        numbers = f"{row['precision']:>9.3f}  {row['recall']:>6.3f}  {row['f1']:>5.3f}  {row['count']:>5,}"
        lines.append(f"{names[name]:<{width}}  {numbers}")
    return "\n".join(lines)
