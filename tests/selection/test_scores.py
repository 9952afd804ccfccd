"""LogME is the highest evidence there is; the probability of being best is that of resamples; beginnings are fair."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from tlkeras.selection.scores import best_probabilities, logme, stratified_order


def some(count: int, channels: int, strength: float = 1.0):
    """Return features that tell two classes apart, and the classes."""
    rng, labels = np.random.default_rng(0), np.arange(count) % 2
    return rng.normal(size=(count, channels)) + strength * labels[:, None] * (np.arange(channels) < 2), labels


@pytest.mark.parametrize("channels", [5, 60])  # fewer and more than examples
def test_logme_is_the_highest_evidence_of_a_linear_model(channels):
    features, labels = some(40, channels)

    def evidence(target: np.ndarray) -> float:
        def loss(logs: np.ndarray) -> float:
            alpha, beta = np.exp(np.clip(logs, -20, 20))
            covariance = np.eye(40) / beta + features @ features.T / alpha
            return -multivariate_normal(np.zeros(40), covariance).logpdf(target)

        return -min(minimize(loss, [a, b], method="Nelder-Mead").fun for a in (0, 3) for b in (1, 2))

    expected = np.mean([evidence((labels == one).astype(float)) for one in (0, 1)]) / 40
    assert logme(features, labels) == pytest.approx(expected, abs=2e-3)


def test_logme_prefers_features_that_tell_the_classes_apart():
    scores = [logme(*some(100, 20, strength)) for strength in (0.0, 1.0, 3.0)]
    assert scores == sorted(scores) and scores[2] > scores[0] + 0.3


def test_the_probability_of_being_best():
    rng, labels = np.random.default_rng(0), np.arange(200) % 2
    truth = np.eye(2)[labels]

    def model(wrong: int) -> np.ndarray:
        outputs = 0.2 + 0.6 * truth
        rows = rng.permutation(200)[:wrong]
        outputs[rows] = outputs[rows, ::-1]
        return outputs

    clear = best_probabilities([model(5), model(60), model(60)], labels)
    assert clear[0] > 0.99 and sum(clear) == pytest.approx(1)
    close = best_probabilities([model(20), model(22)], labels)
    assert 0.5 < close[0] < 0.9
    sharper = best_probabilities([0.3 + 0.4 * truth, 0.1 + 0.8 * truth], labels)  # equally accurate
    assert sharper == [0.0, 1.0]


def test_each_beginning_holds_the_classes_in_their_proportions():
    labels = np.repeat([0, 1, 2], [600, 300, 30])
    order = stratified_order(labels, seed=1)
    assert sorted(order) == list(range(930))
    for size in (31, 100, 310, 620):
        expected = np.array([600, 300, 30]) * size / 930
        assert np.abs(np.bincount(labels[order[:size]], minlength=3) - expected).max() <= 1.5
    assert (order != stratified_order(labels, seed=2)).any()
    assert np.bincount(labels[order[:6]]).tolist() == [2, 2, 2]  # a rare one is not left out
