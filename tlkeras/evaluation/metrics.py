"""Outputs and targets of a split, every example once, to metrics with their count."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn import metrics

from tlkeras.config.fields import Task

HIGH_BASELINE = 0.8  # accuracy without looking at the input from which the metrics say so


def compute_metrics(outputs: np.ndarray, targets: np.ndarray, task: Task) -> dict[str, Any]:
    """Return the metrics of one split.

    Args:
        outputs: float32 `(N, K)`, the model's outputs: probabilities, or numbers for regression.
        targets: float32 `(N, K)`: one-hot, multi-hot, or numbers.
        task: how to compare them.

    Returns:
        Always "count" and "loss" (without label smoothing or penalties). single_label: "accuracy" with its 95 %
        confidence interval (Wilson), "correct" and "macro_f1"; multi_label: "accuracy" (fraction of single decisions
        that are correct), "exact_match" and "macro_f1", at a threshold of 0.5; both: "majority_accuracy", that of
        the most common answer, whatever the input; regression: "mae", "rmse" and "r2" in the target's unit.

    Example:
        >>> tlkeras.compute_metrics(model.predict(images), targets, "single_label")["accuracy"]
    """
    outputs, targets = outputs.astype("float64"), targets.astype("float64")
    if task == "regression":
        return regression_metrics(outputs, targets)
    safe = np.clip(outputs, 1e-7, 1 - 1e-7)
    if task == "multi_label":
        decided = outputs >= 0.5
        loss = -(targets * np.log(safe) + (1 - targets) * np.log(1 - safe)).mean()
        return {
            "count": len(targets),
            "loss": float(loss),
            "accuracy": float((decided == (targets > 0.5)).mean()),
            "majority_accuracy": float(np.maximum(targets.mean(axis=0), 1 - targets.mean(axis=0)).mean()),
            "exact_match": float((decided == (targets > 0.5)).all(axis=1).mean()),
            "macro_f1": float(metrics.f1_score(targets > 0.5, decided, average="macro", zero_division=0.0)),
        }
    true, decided = targets.argmax(axis=1), outputs.argmax(axis=1)
    correct = int((true == decided).sum())
    return {
        "count": len(targets),
        "loss": float(-np.log(safe[np.arange(len(true)), true]).mean()),
        "accuracy": correct / len(true),
        "accuracy_interval_95": accuracy_interval(correct, len(true)),
        "majority_accuracy": float(targets.mean(axis=0).max()),
        "correct": correct,
        "macro_f1": float(metrics.f1_score(true, decided, average="macro", zero_division=0.0)),
    }


def regression_metrics(outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """Return the metrics of outputs and targets `(N, K)` in one unit; "r2" is None for a single example."""
    squared = float(metrics.mean_squared_error(targets, outputs))
    return {
        "count": len(targets),
        "loss": squared,
        "mae": float(metrics.mean_absolute_error(targets, outputs)),
        "rmse": squared**0.5,
        "r2": float(metrics.r2_score(targets, outputs)) if len(targets) > 1 else None,
    }


def accuracy_interval(correct: int, count: int) -> list[float]:
    """Return Wilson's 95 % confidence interval of a proportion (1927, JASA 22), rounded to four digits."""
    interval = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    return [round(float(interval.low), 4), round(float(interval.high), 4)]


def format_metrics(values: dict[str, Any], unit: str = "images") -> str:
    """Return the metrics of one split in a line, with the count of examples in words such as "images".

    Where the most common answer alone is as accurate, or nearly, the line says so.
    """
    count = f"{values['count']:,} {unit}"
    if "mae" in values:
        explained = "" if values["r2"] is None else f"; R² {values['r2']:.3f}"
        return f"mean absolute error {values['mae']:.4g} ({count}{explained})"
    if "correct" in values:
        low, high = values["accuracy_interval_95"]
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
    outputs: np.ndarray, targets: np.ndarray, task: Task, classes: list[str]
) -> dict[str, dict[str, float]]:
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
    if task == "multi_label":
        true, decided = targets > 0.5, outputs >= 0.5
    else:
        true, decided = targets.argmax(axis=1), outputs.argmax(axis=1)
    found = metrics.precision_recall_fscore_support(true, decided, labels=range(len(classes)), zero_division=0.0)
    return {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "count": int(count)}
        for name, precision, recall, f1, count in zip(classes, *found, strict=True)
    }


def class_table(classes: dict[str, dict[str, float]]) -> str:
    """Return the result of `per_class_metrics` as text, a line for each class."""
    width = max(len("class"), *map(len, classes))
    lines = [f"{'class':<{width}}  precision  recall     f1  count"]
    for name, row in classes.items():
        numbers = f"{row['precision']:>9.3f}  {row['recall']:>6.3f}  {row['f1']:>5.3f}  {row['count']:>5,}"
        lines.append(f"{name:<{width}}  {numbers}")
    return "\n".join(lines)
