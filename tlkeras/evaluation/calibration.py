"""Calibration: probabilities that are as often right as they say, by a correction that the output layer takes up."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar
from scipy.special import expit, log_softmax, logit

from tlkeras.config.fields import Task

if TYPE_CHECKING:
    import keras

BINS = 15  # of the expected calibration error
MIN_EXAMPLES = 50  # of validation; fewer say too little about probabilities, see benchmarks/calibration.py
FOLDS = 5
SLOPE_STD, OFFSET_STD = 0.5, 1.0  # of the logarithm of a slope, and of an offset, before any example is seen


def confidences(outputs: np.ndarray, targets: np.ndarray, one: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return what is certain to which degree, and whether it is true, of probabilities and targets `(N, K)`.

    Of one label it is the top class, `(N,)`; of several each label by itself, example by example, `(N * K,)`.
    """
    if one:
        return outputs.max(axis=1), outputs.argmax(axis=1) == targets.argmax(axis=1)
    return outputs.ravel(), targets.ravel() > 0.5


def bin_indices(confidence: np.ndarray, bins: int) -> np.ndarray:
    """Return which of some bins of equal width from 0 to 1 each confidence is in."""
    return np.clip((confidence * bins).astype(int), 0, bins - 1)


def expected_calibration_error(outputs: np.ndarray, targets: np.ndarray, task: Task, bins: int = BINS) -> float:
    """Return how far confidence and accuracy are apart, as a mean over bins (Guo et al. 2017, arXiv:1706.04599).

    Even of a calibrated model it is above 0, the more so the fewer examples there are.
    """
    confidence, hit = confidences(outputs.astype("float64"), targets, task == "single_label")
    gaps = np.bincount(bin_indices(confidence, bins), confidence - hit, bins)
    return float(np.abs(gaps).sum() / len(confidence))


def reliability(outputs: np.ndarray, targets: np.ndarray, task: Task, bins: int = 10) -> list[dict[str, Any]]:
    """Return mean "confidence", "accuracy" and "count" of each bin that holds anything, for a reliability diagram."""
    confidence, hit = confidences(outputs.astype("float64"), targets, task == "single_label")
    index = bin_indices(confidence, bins)
    rows = [(confidence[index == one], hit[index == one]) for one in np.unique(index)]
    return [{"confidence": float(c.mean()), "accuracy": float(h.mean()), "count": len(c)} for c, h in rows]


@dataclass(frozen=True)
class Calibration:
    """A change of the logits: times a slope, plus an offset; one slope for all classes of one label."""

    slopes: np.ndarray  # (K,), above 0
    offsets: np.ndarray  # (K,); 0 for one label
    task: Task

    def apply(self, outputs: np.ndarray) -> np.ndarray:
        """Return the probabilities `(N, K)` that others become."""
        changed = logits(outputs, self.task) * self.slopes + self.offsets
        return np.exp(log_softmax(changed, axis=1)) if self.task == "single_label" else expit(changed)

    def fold_into(self, layer: "keras.layers.Layer") -> None:
        """Change kernel and bias of the output layer so that it gives calibrated outputs by itself."""
        kernel, bias = layer.get_weights()
        layer.set_weights([kernel * self.slopes, bias * self.slopes + self.offsets])


def logits(outputs: np.ndarray, task: Task) -> np.ndarray:
    """Return the logits of probabilities `(N, K)`, those of one label but for a constant of each example."""
    if task == "single_label":
        return np.log(np.maximum(outputs.astype("float64"), 1e-38))
    return logit(np.clip(outputs.astype("float64"), 1e-7, 1 - 1e-7))


def log_losses(outputs: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Return the log loss of each example `(N, 1)`, or of each of its labels `(N, K)`."""
    safe = np.clip(outputs.astype("float64"), 1e-7, 1 - 1e-7)
    if task == "single_label":
        return -np.log(safe[np.arange(len(safe)), targets.argmax(axis=1)])[:, None]
    return -np.where(targets > 0.5, np.log(safe), np.log(1 - safe))


def fit(outputs: np.ndarray, targets: np.ndarray, task: Task) -> Calibration:
    """Fit a temperature (Guo et al. 2017), or a slope and an offset for each label (Platt 1999), by the log loss.

    Slopes are near 1, and offsets near 0, unless the examples say otherwise: a handful of mistakes does not.
    """
    scores = logits(outputs, task)
    if task == "single_label":
        rows, true = np.arange(len(scores)), targets.argmax(axis=1)

        def loss(slope: float) -> float:
            return (slope / SLOPE_STD) ** 2 / 2 - log_softmax(scores * np.exp(slope), axis=1)[rows, true].sum()

        slope = np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x)
        return Calibration(np.full(scores.shape[1], slope), np.zeros(scores.shape[1]), task)
    found = np.array([fit_label(scores[:, k], targets[:, k] > 0.5) for k in range(scores.shape[1])])
    return Calibration(found[:, 0], found[:, 1], task)


def fit_label(scores: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Return slope and offset for the logits of one label `(N,)`."""

    def loss(parameters: np.ndarray) -> float:
        slope, offset = parameters
        changed = np.exp(slope) * scores + offset
        unlikely = ((slope / SLOPE_STD) ** 2 + (offset / OFFSET_STD) ** 2) / 2
        return float(unlikely + (np.logaddexp(0, changed) - positive * changed).sum())

    slope, offset = minimize(loss, [0.0, 0.0], method="L-BFGS-B", bounds=[(-3.0, 3.0), (None, None)]).x
    return np.exp(slope), offset


def out_of_fold(outputs: np.ndarray, targets: np.ndarray, task: Task) -> np.ndarray:
    """Return probabilities `(N, K)` that are calibrated by the other folds alone."""
    calibrated = np.empty(outputs.shape)
    folds = np.arange(len(outputs)) % FOLDS
    folds = np.random.default_rng(0).permutation(folds)
    for fold in range(FOLDS):
        held_out = folds == fold
        calibrated[held_out] = fit(outputs[~held_out], targets[~held_out], task).apply(outputs[held_out])
    return calibrated


def choose_calibration(outputs: np.ndarray, targets: np.ndarray, task: Task) -> tuple[Calibration | None, Any]:
    """Return the calibration of validation outputs `(N, K)`, if it helps, and what `metrics.json` says about it.

    It helps where the log loss of examples that it was not fitted on is lower: for several labels each by itself.
    """
    if task == "regression":
        return None, "numbers have no probabilities"
    if len(outputs) < MIN_EXAMPLES:
        return None, f"fewer than {MIN_EXAMPLES} validation examples"
    held_out = out_of_fold(outputs, targets, task)
    before, after = (log_losses(given, targets, task).mean(axis=0) for given in (outputs, held_out))
    better = after < before
    if not better.any():
        return None, "it did not lower the log loss of validation examples that it was not fitted on"
    fitted = fit(outputs, targets, task)
    chosen = Calibration(np.where(better, fitted.slopes, 1.0), np.where(better, fitted.offsets, 0.0), task)
    values: dict[str, Any] = {"temperature": float(1 / chosen.slopes[0])}
    if task == "multi_label":
        values = {"slopes": chosen.slopes.tolist(), "offsets": chosen.offsets.tolist()}
    return chosen, values | {
        "ece_before": expected_calibration_error(outputs, targets, task),
        "ece_after": expected_calibration_error(np.where(better, held_out, outputs), targets, task),
        "measured_on": f"validation; after: {FOLDS}-fold cross-validated",
    }
