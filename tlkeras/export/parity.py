"""Compare what an artifact gives with what the trained model gives, for the same examples."""

from typing import Any

import numpy as np

from tlkeras.config.fields import Task
from tlkeras.evaluation.intervals import wilson_interval
from tlkeras.export.formats import Tolerance


def compare_outputs(trained: np.ndarray, exported: np.ndarray, task: Task) -> dict[str, Any]:
    """Return differences of outputs `(N, K)`, of regression relative to the range of the trained model's values.

    Examples agree where the most likely class is the same, with several labels where all decisions are.
    """
    unit = float(np.ptp(trained)) or 1.0 if task == "regression" else 1.0
    apart = np.abs(trained.astype("float64") - exported) / unit
    found: dict[str, Any] = {
        "count": len(trained),
        "max_difference": float(apart.max()),
        "mean_difference": float(apart.mean()),
    }
    if task != "regression":
        same = int((decide(trained, task) == decide(exported, task)).all(axis=1).sum())
        found |= {"agreement": same / len(trained), "agreement_95": wilson_interval(same, len(trained))}
    return found


def significant(value: float) -> float:
    """Return a number with three significant digits."""
    return float(f"{value:.3g}")


def accuracy(outputs: np.ndarray, targets: np.ndarray, task: Task) -> float:
    """Return the fraction of examples that are decided as their targets `(N, K)` say."""
    return float((decide(outputs, task) == decide(targets, task)).all(axis=1).mean())


def decide(outputs: np.ndarray, task: Task) -> np.ndarray:
    """Return the classes that outputs stand for: the most likely one `(N, 1)`, or a yes or no for each `(N, K)`."""
    return outputs.argmax(axis=1)[:, None] if task == "single_label" else outputs >= 0.5


def out_of_tolerance(found: dict[str, Any], tolerance: Tolerance) -> str | None:
    """Return how a comparison is beyond the tolerance, in words; None where it is not."""
    for kind in ("max", "mean"):
        difference, allowed = found[f"{kind}_difference"], getattr(tolerance, f"{kind}_difference")
        if not difference <= allowed:  # NaN as well
            return f"the {kind} difference of outputs is {difference:.2g}, and {allowed:g} is allowed"
    if "agreement" in found and beyond(1 - found["agreement"], 1 - tolerance.agreement, found["count"]):
        return f"{found['agreement']:.1%} of the decisions agree, and {tolerance.agreement:.1%} must"
    lost = found.get("trained_accuracy", 0.0) - found.get("accuracy", 0.0)
    if beyond(lost, tolerance.lost_accuracy, found["count"]):
        return f"the accuracy is lower by {lost:.3f}, and {tolerance.lost_accuracy:g} is allowed"
    return None


def beyond(fraction: float, allowed: float, count: int) -> bool:
    """Return whether a fraction of so many examples is more than allowed, and more than one example."""
    return fraction * count > max(allowed * count, 1) + 1e-6
