"""Outputs and targets of a split, every example once, to figures with their count."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn import metrics

from tlkeras.config import ModalityName, Task
from tlkeras.modalities.base import count_noun


def compute_metrics(outputs: np.ndarray, targets: np.ndarray, task: Task) -> dict[str, Any]:
    """The figures of one split.

    Args:
        outputs: float32 `(N, K)`, what the model gave: probabilities, or numbers for regression.
        targets: float32 `(N, K)`: one-hot, multi-hot, or numbers.
        task: how to compare them.

    Returns:
        Always "count" and "loss" (without label smoothing or penalties). single_label: "accuracy" with its 95 %
        interval (Wilson) and "macro_f1"; multi_label: "accuracy" (share of single decisions that are right),
        "exact_match" and "macro_f1", at a threshold of 0.5; regression: "mae", "rmse" and "r2" in the target's unit.
    """
    outputs, targets = outputs.astype("float64"), targets.astype("float64")
    if task == "regression":
        return measure_numbers(outputs, targets)
    safe = np.clip(outputs, 1e-7, 1 - 1e-7)
    if task == "multi_label":
        decided = outputs >= 0.5
        loss = -(targets * np.log(safe) + (1 - targets) * np.log(1 - safe)).mean()
        return {
            "count": len(targets),
            "loss": float(loss),
            "accuracy": float((decided == (targets > 0.5)).mean()),
            "exact_match": float((decided == (targets > 0.5)).all(axis=1).mean()),
            "macro_f1": float(metrics.f1_score(targets > 0.5, decided, average="macro", zero_division=0.0)),
        }
    true, decided = targets.argmax(axis=1), outputs.argmax(axis=1)
    right = int((true == decided).sum())
    return {
        "count": len(targets),
        "loss": float(-np.log(safe[np.arange(len(true)), true]).mean()),
        "accuracy": right / len(true),
        "accuracy_interval_95": accuracy_interval(right, len(true)),
        "right": right,
        "macro_f1": float(metrics.f1_score(true, decided, average="macro", zero_division=0.0)),
    }


def measure_numbers(outputs: np.ndarray, targets: np.ndarray) -> dict[str, Any]:
    """The figures of a regression; "loss" is the mean squared error.

    Args:
        outputs: `(N, K)`, in the target's unit.
        targets: `(N, K)`, likewise.

    Returns:
        "count", "loss" in the unit's square, "mae" and "rmse" in the unit, and "r2", None for a single example.
    """
    squared = float(metrics.mean_squared_error(targets, outputs))
    return {
        "count": len(targets),
        "loss": squared,
        "mae": float(metrics.mean_absolute_error(targets, outputs)),
        "rmse": squared**0.5,
        "r2": float(metrics.r2_score(targets, outputs)) if len(targets) > 1 else None,
    }


def accuracy_interval(right: int, count: int) -> list[float]:
    """Wilson's 95 % interval (1927, Journal of the American Statistical Association 22) of a share.

    Args:
        right: examples that were decided rightly.
        count: all examples, 1 or more.

    Returns:
        Least and greatest share, rounded to four digits.
    """
    interval = binomtest(right, count).proportion_ci(0.95, method="wilson")
    return [round(float(interval.low), 4), round(float(interval.high), 4)]


def format_metrics(figures: dict[str, Any], form: ModalityName = "pictures") -> str:
    """The figures of one split in a line, with the count of examples."""
    count = f"{figures['count']:,} {count_noun(form)}"
    if "mae" in figures:
        explained = "" if figures["r2"] is None else f"; r² {figures['r2']:.3f}"
        return f"mean absolute error {figures['mae']:.4g} ({count}{explained})"
    if "right" in figures:
        low, high = figures["accuracy_interval_95"]
        return f"accuracy {figures['accuracy']:.3f} ({figures['right']:,} of {count}; 95 % {low:.3f}–{high:.3f})"
    right = f"{figures['accuracy']:.3f} of single labels, {figures['exact_match']:.3f} with all labels right"
    return f"accuracy {right} ({count})"


def per_class_metrics(
    outputs: np.ndarray, targets: np.ndarray, task: Task, classes: list[str]
) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 of each class.

    A precision without a decision for the class, and a recall without an example of it, are 0.

    Args:
        outputs: probabilities `(N, K)`.
        targets: `(N, K)`: one-hot or multi-hot.
        task: "single_label", or "multi_label" with a threshold of 0.5.
        classes: names of the K classes, in order.

    Returns:
        For each class by its name: "precision", "recall", "f1" and "count", how many examples have it.
    """
    if task == "multi_label":
        true, decided = targets > 0.5, outputs >= 0.5
    else:
        true, decided = targets.argmax(axis=1), outputs.argmax(axis=1)
    figures = metrics.precision_recall_fscore_support(true, decided, labels=range(len(classes)), zero_division=0.0)
    return {
        name: {"precision": float(precision), "recall": float(recall), "f1": float(f1), "count": int(count)}
        for name, precision, recall, f1, count in zip(classes, *figures, strict=True)
    }


def class_table(classes: dict[str, dict[str, float]]) -> str:
    """The figures of `measure_classes` as text, a line for each class."""
    width = max(len("class"), *map(len, classes))
    lines = [f"{'class':<{width}}  precision  recall     f1  count"]
    for name, row in classes.items():
        figures = f"{row['precision']:>9.3f}  {row['recall']:>6.3f}  {row['f1']:>5.3f}  {row['count']:>5,}"
        lines.append(f"{name:<{width}}  {figures}")
    return "\n".join(lines)
