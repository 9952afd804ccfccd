"""Two-sample tests: how often they alarm where nothing has moved, and that they find what has."""

import numpy as np
import pytest
from scipy.stats import fisher_exact
from sklearn.metrics.pairwise import rbf_kernel

from tlkeras.evaluation.drift import labels_test, mmd_test, psi_terms, psi_test


def rows(rng: np.random.Generator, count: int, shift: float = 0.0) -> np.ndarray:
    """Return rows of four numbers, as heavy-tailed as features are."""
    return rng.standard_t(3, (count, 4)) + shift


def test_false_alarms_are_as_rare_as_stated():
    rng = np.random.default_rng(0)
    features = [mmd_test(rows(rng, 30), rows(rng, 20), rng)[1] for _ in range(200)]
    draws = [rng.multinomial(count, [0.6, 0.3, 0.1]) for count in (80, 40) * 200]
    counts = [psi_test(old, new, rng) for old, new in zip(draws[::2], draws[1::2], strict=True)]
    for p_values in (features, counts):
        assert np.mean(np.array(p_values) <= 0.05) < 0.09
    assert np.mean(np.array(features) <= 0.5) == pytest.approx(0.5, abs=0.1)


def test_shifts_are_found():
    rng = np.random.default_rng(0)
    p_values = [mmd_test(rows(rng, 60), rows(rng, 40, shift=1.0), rng)[1] for _ in range(20)]
    assert np.mean(np.array(p_values) <= 0.05) > 0.9
    wider = [mmd_test(rows(rng, 60), 3 * rows(rng, 40), rng)[1] for _ in range(20)]  # with the same mean
    assert np.mean(np.array(wider) <= 0.05) > 0.9
    assert psi_test(np.array([50, 50]), np.array([40, 10]), rng) < 0.01


def test_the_discrepancy_is_the_unbiased_one_of_gretton():
    rng = np.random.default_rng(0)
    old, new = rows(rng, 12), rows(rng, 7)
    squares = ((old[:, None] - old[None]) ** 2).sum(axis=2)[np.triu_indices(12, 1)]
    first, second, both = (rbf_kernel(a, b, 1 / np.median(squares)) for a, b in ((old, old), (new, new), (old, new)))
    expected = (first.sum() - 12) / (12 * 11) + (second.sum() - 7) / (7 * 6) - 2 * both.mean()
    assert mmd_test(old, new, rng)[0] == pytest.approx(expected)


def test_equal_rows_and_empty_cells_give_numbers():
    rng = np.random.default_rng(0)
    assert mmd_test(np.zeros((60, 3)), np.zeros((20, 3)), rng) == (pytest.approx(0), 1.0)
    assert np.isfinite(psi_terms(np.array([10, 0]), np.array([0, 20]))).all()
    assert psi_test(np.array([10, 0, 0]), np.array([20, 0, 0]), rng) == 1.0


def test_the_index_is_the_usual_one():
    old, new = np.array([5000, 3000, 2000]), np.array([4000, 3000, 3000])
    p, q = old / 10_000, new / 10_000
    assert psi_terms(old, new) == pytest.approx((p - q) * np.log(p / q), abs=1e-4)


def test_several_labels_are_fishers_test_times_their_number():
    old, new = np.array([[40, 60], [10, 90]]), np.array([[12, 28], [20, 20]])
    assert labels_test(old, new) == pytest.approx(2 * fisher_exact([old[1], new[1]]).pvalue)
    assert labels_test(old, old) == 1.0
