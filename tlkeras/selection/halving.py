"""Successive halving: all candidates on a few examples, the better half on more, and so on to the best three."""

import logging
import math
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tlkeras.errors import UserError
from tlkeras.evaluation.cross_validation import FOLDS, out_of_fold_probabilities
from tlkeras.selection.scores import held_out_metrics, logme

log = logging.getLogger("tlkeras")
MOST = 2000  # examples of the last round
FIRST = 100  # of the first round, and ten of each class
FINALISTS = 3

Features = Callable[[np.ndarray], np.ndarray]  # rows of examples (n,) to features (n, C)


@dataclass
class Candidate:
    """A backbone, what it was measured on, and what came out."""

    name: str
    features_of: Features
    features: np.ndarray | None = None  # (n, C)
    probabilities: np.ndarray | None = None  # (n, K), out of fold
    seconds: float = 0.0  # that it took so far
    metrics: dict[str, Any] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[float, float]:
        """Return what candidates are sorted by, the best first."""
        return -self.metrics["accuracy"], self.metrics["loss"]


def round_sizes(candidates: int, count: int, classes: int) -> list[int]:
    """Return the examples of each round: twice as many where half the candidates have gone."""
    rounds = 1 + max(0, math.ceil(math.log2(candidates / FINALISTS)))
    last = min(count, MOST)
    first = min(last, max(FIRST, 10 * classes))
    return [max(first, last >> (rounds - 1 - number)) for number in range(rounds)]


def halve(
    candidates: Sequence[Candidate], labels: np.ndarray, groups: np.ndarray, deadline: float
) -> tuple[list[Candidate], list[str]]:
    """Return the finalists, the best first, and the names of those for which there was no time.

    Labels and groups `(N,)` are of examples in an order of which each round takes a beginning. A round that would not
    end before the deadline, by the time that the one before it took, does not begin; in the first one the slowest
    candidate so far tells. A candidate that raises `UserError` is logged and left out, unless no other is left.
    """
    left, late = list(candidates), list[str]()
    for number, size in enumerate(round_sizes(len(candidates), len(labels), labels.max() + 1)):
        if number:
            predicted = sum(one.seconds * (size / one.metrics["images"] - 1) for one in left)
            if time.monotonic() + predicted > deadline:
                break
        folds = count_folds(labels[:size], groups[:size])
        for candidate in list(left):
            if not number and time.monotonic() + max(one.seconds for one in candidates) > deadline:
                left.remove(candidate)
                late.append(candidate.name)
                continue
            try:
                measure(candidate, labels[:size], groups[:size], folds)
            except UserError as error:  # such as weights that cannot be downloaded
                if left == [candidate]:
                    raise
                left.remove(candidate)
                log.warning("%s was left out: %s", candidate.name, error)
        left = sorted(left, key=lambda one: one.rank)[: max(FINALISTS, math.ceil(len(left) / 2))]
    return left[:FINALISTS], late


def count_folds(labels: np.ndarray, groups: np.ndarray) -> int:
    """Return in how many folds classes and groups `(n,)` are told apart; refuse less than two classes of two groups."""
    counts = [len(np.unique(groups[labels == one])) for one in np.unique(labels)]
    counts = [count for count in counts if count > 1]  # a class of one group is held out or trained on, not both
    if len(counts) < 2:
        raise UserError(
            "Features are compared by cross-validation. It needs two classes with two examples each that are neither "
            f"copies nor of one group, and there are fewer among {len(labels):,} examples. Give more."
        )
    return min(FOLDS, *counts)


def measure(candidate: Candidate, labels: np.ndarray, groups: np.ndarray, folds: int) -> None:
    """Compute the features of more examples; cross-validate a logistic regression on all so far, `(n,)` each."""
    start = time.perf_counter()
    done = [] if candidate.features is None else [candidate.features]
    new = np.arange(len(done[0]) if done else 0, len(labels))
    candidate.features = np.concatenate([*done, candidate.features_of(new)] if len(new) else done)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with few examples, and of a fit that is stopped
        candidate.probabilities = out_of_fold_probabilities(candidate.features, labels, groups, folds)
    candidate.seconds += time.perf_counter() - start
    candidate.metrics |= held_out_metrics(candidate.probabilities, labels) | {
        "logme": logme(candidate.features, labels)
    }
