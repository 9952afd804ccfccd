"""Probable label errors: confident learning on probabilities that a model gives for examples it was not trained on."""

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FOLDS = 5
C = 0.01  # inverse strength of the penalty; a stronger fit would memorize wrong labels


def out_of_fold_probabilities(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int = FOLDS, seed: int = 0
) -> np.ndarray:
    """Return probabilities `(N, K)` of a logistic regression that was trained on the other folds.

    Features are `(N, C)`, labels class indices `(N,)` of K classes, all of them present; examples of one group `(N,)`,
    such as copies, are in one fold.
    """
    probabilities = np.zeros((len(labels), labels.max() + 1))
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    for train, held_out in splitter.split(features, labels, groups):
        model = make_pipeline(StandardScaler(), LogisticRegression(C=C, max_iter=300))
        model.fit(features[train], labels[train])
        probabilities[np.ix_(held_out, model.classes_)] = model.predict_proba(features[held_out])
    return probabilities


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
