"""How good features are for some classes before anything is trained, and how sure it is that one is the best."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tlkeras.evaluation.calibration import log_losses
from tlkeras.evaluation.intervals import bootstrap, wilson_interval

ROUNDS = 100  # in which LogME looks for the fixed point; a handful is enough


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """Return the log evidence of a Bayesian linear model of the classes, per example: LogME, higher is better.

    You et al. 2021 (arXiv:2102.11005), with the fixed point of their section 4. Features are `(N, C)`, labels class
    indices `(N,)`. It is compared among backbones on the same examples, and its size says nothing by itself.
    """
    count, given = len(labels), features.astype("float64")
    if count > features.shape[1]:
        sigma, right = np.linalg.eigh(given.T @ given)
        left = given @ right / np.sqrt(np.maximum(sigma, 1e-12 * sigma[-1]))
    else:
        sigma, left = np.linalg.eigh(given @ given.T)
    kept = sigma > 1e-9 * sigma[-1]
    targets = [(labels == one).astype("float64") for one in np.unique(labels)]
    return float(np.mean([_evidence(left[:, kept], sigma[kept], target) for target in targets]) / count)


def _evidence(left: np.ndarray, sigma: np.ndarray, target: np.ndarray) -> float:
    """Return the highest log evidence over the precisions of weights and noise, by left vectors and eigenvalues."""
    count, alpha, beta = len(target), 1.0, 1.0
    squared = (left.T @ target) ** 2
    outside = max(target @ target - squared.sum(), 0.0)  # of the target, what no weights can reach
    for _ in range(ROUNDS):
        ratio = alpha / beta
        gamma = (sigma / (sigma + ratio)).sum()
        weights = (sigma * squared / (sigma + ratio) ** 2).sum()
        residual = (squared * (ratio / (sigma + ratio)) ** 2).sum() + outside
        alpha, beta = gamma / max(weights, 1e-10), (count - gamma) / max(residual, 1e-10)
        if abs(alpha / beta - ratio) <= 1e-3 * ratio:
            break
    ratio = alpha / beta
    weights = (sigma * squared / (sigma + ratio) ** 2).sum()
    residual = (squared * (ratio / (sigma + ratio)) ** 2).sum() + outside
    fit = count * np.log(beta / (2 * np.pi)) - beta * residual - alpha * weights
    return float(fit - np.log1p(sigma / ratio).sum()) / 2


def held_out_metrics(outputs: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Return count, accuracy with its interval, and log loss of probabilities `(N, K)` for labels `(N,)`."""
    correct = int((outputs.argmax(axis=1) == labels).sum())
    losses = log_losses(outputs, np.eye(outputs.shape[1])[labels], "single_label")
    return {"images": len(labels), "accuracy": correct / len(labels), "loss": float(losses.mean()),
            "interval_95": wilson_interval(correct, len(labels))}  # fmt: skip


def best_probabilities(outputs: Sequence[np.ndarray], labels: np.ndarray) -> list[float]:
    """Return for each model how probably it is the best: how often it is, over resamples of the examples.

    Outputs are probabilities `(N, K)` of each model for the same examples, labels `(N,)`; it is a paired bootstrap. The
    best has the highest accuracy and, among equals, the lowest log loss.
    """
    right = np.stack([given.argmax(axis=1) == labels for given in outputs]).astype("float64")
    losses = np.stack([log_losses(given, np.eye(given.shape[1])[labels], "single_label")[:, 0] for given in outputs])
    found = bootstrap(lambda weights: {"right": right @ weights, "loss": losses @ weights}, len(labels), len(outputs))
    order = np.lexsort((found["loss"], -found["right"]), axis=0)[0]
    return (np.bincount(order, minlength=len(outputs)) / len(order)).tolist()


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a random order `(N,)` of which each beginning holds the classes `(N,)` in nearly their proportions.

    Two of each class come first: a rare one is in every beginning.
    """
    rng, places = np.random.default_rng(seed), np.empty(len(labels))
    for one in np.unique(labels):
        rows = np.flatnonzero(labels == one)
        order = rng.permutation(len(rows))
        places[rows] = np.where(order < 2, -1, (order + rng.random()) / len(rows))
    return np.argsort(places, kind="stable")
