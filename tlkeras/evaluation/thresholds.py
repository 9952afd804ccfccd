"""Thresholds chosen on validation: from which confidence on to accept a prediction, and operating points of labels."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from tlkeras.config.fields import Task
from tlkeras.evaluation.intervals import wilson_interval

MIN_FOUND = 5  # validation examples of a class that a threshold must find; a precision of fewer is chance
MIN_ACCEPTED = 20  # validation examples; the accuracy of fewer is chance


def coverage_curve(outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage and accuracy `(N,)` where the 1, 2, … N most confident examples are accepted (arXiv:1705.08500).

    Outputs are the probabilities of one label `(N, K)`, targets one-hot.
    """
    order = np.argsort(-outputs.max(axis=1), kind="stable")
    accepted = np.arange(1, len(order) + 1)
    correct = (outputs.argmax(axis=1) == targets.argmax(axis=1))[order]
    return accepted / len(order), np.cumsum(correct) / accepted


def choose_thresholds(
    outputs: np.ndarray, targets: np.ndarray, task: Task, classes: Sequence[str], wanted: float
) -> dict[str, Any]:
    """Return what `thresholds.json` holds, of validation outputs and targets `(N, K)` of labels."""
    found: dict[str, Any] = {"split": "validation", "count": len(outputs), "wanted": wanted}
    if task == "single_label":
        found["reject"] = reject_threshold(outputs, targets, wanted)
    if task == "multi_label" or len(classes) == 2:
        found["operating_points"] = {
            name: operating_points(outputs[:, k], targets[:, k] > 0.5, wanted) for k, name in enumerate(classes)
        }
    return found


def reject_threshold(outputs: np.ndarray, targets: np.ndarray, wanted: float) -> dict[str, float] | None:
    """Return a confidence from which on so many are correct, as low as can be, and the coverage; None without one.

    It is 0 where all of them together are accurate enough.
    """
    coverage, accuracy = coverage_curve(outputs, targets)
    confidence = -np.sort(-outputs.max(axis=1))
    enough = (accuracy >= wanted) & (np.diff(confidence, append=-1.0) < 0)  # equal ones are accepted together
    enough[: MIN_ACCEPTED - 1] = False
    if not enough.any():
        return None
    last = int(np.flatnonzero(enough)[-1])
    # Between two examples, so that rounding errors of another runtime decide nothing.
    threshold = float(confidence[last : last + 2].mean()) if last < len(confidence) - 1 else 0.0
    return {"threshold": threshold, "coverage": float(coverage[last]), "accuracy": float(accuracy[last])}


def operating_points(scores: np.ndarray, positive: np.ndarray, wanted: float) -> dict[str, Any] | None:
    """Return the threshold of the best F1 of one class, and that of the highest recall at a precision; None if unknown.

    Probabilities and whether each example is of the class are `(N,)`; who decides takes those at or above a threshold.
    """
    if not positive.any() or positive.all():
        return None
    precision, recall, thresholds = precision_recall_curve(positive, scores)
    precision, recall = precision[:-1], recall[:-1]  # the last one is without a threshold
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-12)

    def point(index: int) -> dict[str, float]:
        rows = {"threshold": thresholds, "precision": precision, "recall": recall, "f1": f1}
        return {name: float(values[index]) for name, values in rows.items()}

    found = recall * positive.sum()
    precise = np.where((precision >= wanted) & (found >= MIN_FOUND), recall, -1.0)
    best = np.flatnonzero(precise == precise.max())[-1]  # of equal recall the highest threshold is the most precise
    return {
        "best_f1": point(int(np.argmax(f1))),
        "wanted_precision": point(int(best)) if precise.max() > 0 else None,
    }


def accepted_metrics(outputs: np.ndarray, targets: np.ndarray, threshold: float) -> dict[str, Any]:
    """Return coverage and accuracy, with its interval, of the examples of one label that a threshold accepts."""
    accepted = outputs.max(axis=1) >= threshold
    count = int(accepted.sum())
    correct = int((outputs.argmax(axis=1) == targets.argmax(axis=1))[accepted].sum())
    return {
        "threshold": threshold,
        "count": count,
        "coverage": count / len(outputs),
        "correct": correct,
        "accuracy": correct / count if count else None,
        "interval_95": wilson_interval(correct, count),
    }


def format_accepted(values: dict[str, Any], unit: str) -> str:
    """Return what a threshold accepts in a line."""
    if not values["count"]:
        return f"no confidence reaches {values['threshold']:.3f}"
    low, high = values["interval_95"]
    return (
        f"{values['coverage']:.3f} of {unit}, accuracy {values['accuracy']:.3f} "
        f"({values['correct']:,} of {values['count']:,}; 95% CI {low:.3f}–{high:.3f})"
    )
