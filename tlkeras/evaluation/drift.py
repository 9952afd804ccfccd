"""Have the data moved? Two-sample tests of projected features and of counts, with p-values by permutation."""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import fisher_exact

PERMUTATIONS = 999


def psi_terms(reference: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Return what each cell `(..., K)` adds to the population stability index of counts.

    It is the sum of (p - q) ln(p / q) over cells (Siddiqi 2006, Credit Risk Scorecards). Half an example is added to
    each cell, so that none is empty.
    """
    cells = reference.shape[-1]
    p, q = ((part + 0.5) / (part.sum(axis=-1, keepdims=True) + 0.5 * cells) for part in (reference, given))
    return (p - q) * np.log(p / q)


def psi(reference: np.ndarray, given: np.ndarray) -> dict[str, float]:
    """Return the index of counts `(..., K)`, and the one to expect where nothing has moved (Yurdakul 2018)."""
    free = reference.size - reference[..., 0].size
    by_chance = free * sum(1 / part.sum(axis=-1).max() for part in (reference, given))
    return {"found": float(psi_terms(reference, given).sum()), "by_chance": float(by_chance)}


def psi_test(reference: np.ndarray, given: np.ndarray, rng: np.random.Generator) -> float:
    """Return the p-value that two counts `(K,)` are of one distribution, by the stability index.

    Chance is who of all examples is in which sample: a permutation test.
    """
    both = reference + given
    drawn = rng.multivariate_hypergeometric(both, int(given.sum()), PERMUTATIONS, method="marginals")
    chance = psi_terms(both - drawn, drawn).sum(axis=-1)
    return p_value(float(psi_terms(reference, given).sum()), chance)


def labels_test(reference: np.ndarray, given: np.ndarray) -> float:
    """Return the p-value that labels are as frequent in two samples, of counts `(K, 2)` of examples with and without.

    It is the lowest one of Fisher's exact tests of the labels, times their number (Bonferroni).
    """
    single = [fisher_exact(np.stack(pair)).pvalue for pair in zip(reference, given, strict=True)]
    return min(1.0, len(single) * float(min(single)))


def mmd_test(reference: np.ndarray, given: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Return the squared maximum mean discrepancy of rows `(N, R)` and `(M, R)`, and its p-value.

    The kernel is Gaussian, as wide as the median distance in the reference; the estimate is the unbiased one (Gretton
    et al. 2012, J. Mach. Learn. Res. 13).
    """
    first, second = len(reference), len(given)
    squares = cdist(*2 * [np.concatenate([reference, given]).astype("float64")], "sqeuclidean")
    width = np.median(squares[:first, :first][np.triu_indices(first, 1)])
    kernel = np.exp(-squares / max(width, 1e-12))
    np.fill_diagonal(kernel, 0)
    is_given = np.zeros((PERMUTATIONS + 1, first + second))
    is_given[0, first:] = 1
    is_given[1:] = rng.permuted(np.tile(is_given[0], (PERMUTATIONS, 1)), axis=1)
    sums = is_given @ kernel
    within = (sums * is_given).sum(axis=1)
    between = sums.sum(axis=1) - within
    rest = kernel.sum() - within - 2 * between
    mmd = rest / (first * (first - 1)) + within / (second * (second - 1)) - 2 * between / (first * second)
    return float(mmd[0]), p_value(float(mmd[0]), mmd[1:])


def p_value(found: float, chance: np.ndarray) -> float:
    """Return how often chance is as large as what was found, which counts as one more."""
    return float((1 + (chance >= found - 1e-12).sum()) / (1 + len(chance)))
