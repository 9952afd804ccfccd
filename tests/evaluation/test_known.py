"""Features of known and of unknown examples: which are near, and what a run's file must hold."""

import numpy as np
import pytest
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from tlkeras.errors import UserError
from tlkeras.evaluation.known import FILE, fit_known, load_known


def features(count: int, seed: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Return features of two classes that vary most along a few directions, and one-hot targets."""
    rng = np.random.default_rng(seed)
    spread = np.r_[np.full(6, 4.0), np.full(34, 0.5)]
    labels = np.arange(count) % 2
    values = rng.normal(0, 1, (count, 40)) * spread + labels[:, None] * 3.0
    values[:, 20:] += shift
    return values.astype("float32"), np.eye(2)[labels]


def test_distances_are_those_of_mahalanobis_but_for_a_factor():
    training, targets = features(300, 0)
    known = fit_known(training, targets, features(100, 1)[0])
    means = np.stack([training[targets[:, k] == 1].mean(axis=0) for k in range(2)])
    precision = LedoitWolf(assume_centered=True).fit(training - means[targets.argmax(axis=1)]).precision_
    given = np.concatenate([features(100, 2)[0], features(100, 3, shift=1.0)[0]])
    away = given[:, None].astype("float64") - means
    expected = np.einsum("nkc,cd,nkd->nk", away, precision, away).min(axis=1)
    factor = expected / known.distances(given)
    assert factor.std() < 0.01 * factor.mean()


def test_the_unknown_is_told_where_plain_distances_fail():
    """What is unlike the training differs little, along directions in which known examples hardly vary."""
    training, targets = features(300, 0)
    known = fit_known(training, targets, features(200, 1)[0])
    ours, others = features(400, 2)[0], features(400, 3, shift=1.5)[0]
    truth = np.repeat([0, 1], 400)
    assert roc_auc_score(truth, known.distances(np.concatenate([ours, others]))) > 0.99
    plain = np.concatenate([ours, others])
    plain = np.min([((plain - mean) ** 2).sum(axis=1) for mean in known.means], axis=0)
    assert roc_auc_score(truth, plain) < 0.85
    assert (known.distances(ours) > known.threshold).mean() < 0.05
    assert (known.distances(others) > known.threshold).mean() > 0.8


@pytest.mark.parametrize("count", [2, 3])
def test_few_examples_and_equal_ones_give_numbers(count):
    same = np.zeros((count, 8), "float32")
    known = fit_known(same, np.eye(2)[np.arange(count) % 2], same)
    assert np.isfinite(known.distances(same)).all() and np.isfinite(known.threshold)


def test_the_file_of_a_run(tmp_path):
    assert load_known(tmp_path, 40) is None  # an earlier version wrote none
    known = fit_known(*features(300, 0), features(100, 1)[0])
    known.save(tmp_path)
    again, given = load_known(tmp_path, 40), features(50, 2)[0]
    assert np.array_equal(again.distances(given), known.distances(given)) and again.threshold == known.threshold
    with pytest.raises(UserError, match=r"known.npz is damaged, or not of this run"):
        load_known(tmp_path, 41)
    (tmp_path / FILE).write_bytes(b"PK nothing")
    with pytest.raises(UserError, match="damaged"):
        load_known(tmp_path, 40)
