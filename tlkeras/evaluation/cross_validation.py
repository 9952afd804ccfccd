"""How well classes are told apart by features: a logistic regression, each example predicted by the other folds."""

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
