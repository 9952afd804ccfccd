"""Wrong labels have the lowest quality, and confident learning names them."""

import numpy as np

from tlkeras.evaluation.cross_validation import out_of_fold_probabilities
from tlkeras.evaluation.label_errors import label_errors, self_confidence


def test_planted_errors_come_first():
    rng = np.random.default_rng(0)
    true = np.arange(300) % 3
    features = 2 * np.eye(3)[true] @ rng.normal(size=(3, 20)) + rng.normal(size=(300, 20))
    labels = true.copy()
    wrong = rng.choice(300, 15, replace=False)
    labels[wrong] = (labels[wrong] + 1) % 3
    probabilities = out_of_fold_probabilities(features, labels, np.arange(300))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    found = label_errors(probabilities, labels)[0]
    assert len(set(found.tolist()) & set(wrong.tolist())) >= 13 and len(found) <= 25
    assert (np.diff(self_confidence(probabilities, labels)[found]) >= 0).all()


def test_thresholds_are_those_of_each_class():
    """The model is less sure of class 1, so that 0.4 of it is much, and 0.6 of class 0 is little."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4], [0.6, 0.4], [0.05, 0.95]])
    labels = np.array([0, 0, 1, 1, 0, 0])
    assert label_errors(probabilities, labels)[0].tolist() == [5, 4]
    assert label_errors(probabilities[:2], labels[:2])[0].tolist() == []


def test_copies_are_in_one_fold():
    """With features that say nothing else, a copy in another fold would tell the label."""
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(0, 2, 40).repeat(2), np.arange(40).repeat(2)
    features = rng.normal(size=(40, 60)).repeat(2, axis=0)
    honest = self_confidence(out_of_fold_probabilities(features, labels, groups), labels).mean()
    leaking = self_confidence(out_of_fold_probabilities(features, labels, np.arange(80)), labels).mean()
    assert honest + 0.03 < leaking
