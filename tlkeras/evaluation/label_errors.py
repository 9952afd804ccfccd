"""Probable label errors: confident learning on probabilities that a model gives for examples it was not trained on."""

import numpy as np


def self_confidence(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return the quality `(N,)` of each label, 0 to 1: the probability of the class that it names."""
    return probabilities[np.arange(len(labels)), labels]


def label_errors(probabilities: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return indices of probable label errors, the most probable first, and the class that each looks like.

    This is confident learning (Northcutt et al. 2021, arXiv:1911.00068).

    Out-of-fold probabilities are `(N, K)`, labels class indices `(N,)`. An example counts as one of class k where its
    probability is at least the mean that the examples labeled k reach; where this holds for other classes than its
    label, and the most probable of all these is another one, the label is probably wrong.
    """
    own = self_confidence(probabilities, labels)
    count = probabilities.shape[1]
    sums = np.bincount(labels, own, count)
    thresholds = np.divide(sums, np.bincount(labels, minlength=count), out=np.full(count, np.inf), where=sums > 0)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)
    wrong = np.flatnonzero((confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != labels))
    ordered = wrong[np.argsort(own[wrong], kind="stable")]
    return ordered, confident.argmax(axis=1)[ordered]
