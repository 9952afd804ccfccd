"""Images of none of the classes, by the distance of their features from those of the training images."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.utils.extmath import randomized_svd

from tlkeras.errors import UserError
from tlkeras.io.arrays import read_npz

FILE = "known.npz"
MAX_EXAMPLES = 1000  # of training, from which means and axes are computed
MAX_HELD_OUT = 10_000  # of validation, by which the threshold is set
MAX_AXES = 64  # directions in which the features of one class vary most
QUANTILE = 0.99  # of validation examples that are not too far away
SLACK = 1.001  # so that rounding errors of another runtime make no known example unsure
MIN_EXAMPLES = 50  # of validation, for the quantile


@dataclass(frozen=True)
class KnownFeatures:
    """Where the features of known examples lie: a normal distribution for each class, with one covariance."""

    means: np.ndarray  # float32 (K, C)
    axes: np.ndarray  # float32 (R, C): how much less a distance counts along these directions
    threshold: np.ndarray  # float64 (): distance above which an example is unlike all known ones

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return the squared distance `(N,)` of features `(N, C)` to the nearest class, but for a factor.

        It is that of Mahalanobis (Lee et al. 2018, arXiv:1807.03888); besides the axes all directions are alike.
        """
        given = features.astype("float64")
        plain = cdist(given, self.means, "sqeuclidean")
        return (plain - cdist(given @ self.axes.T, self.means @ self.axes.T, "sqeuclidean")).min(axis=1)

    def save(self, folder: Path) -> None:
        """Write all into a run's folder."""
        np.savez_compressed(folder / FILE, means=self.means, axes=self.axes, threshold=self.threshold)


def fit_known(training: np.ndarray, targets: np.ndarray, validation: np.ndarray) -> KnownFeatures:
    """Return what is known of training features `(N, C)` with one-hot targets; validation features set the threshold.

    The covariance is shrunk as Ledoit and Wolf 2004 do (J. Multivariate Anal. 88).
    """
    labels = targets.argmax(axis=1)
    means = np.stack([training[labels == label].mean(axis=0) for label in np.unique(labels)]).astype("float64")
    away = training - means[np.searchsorted(np.unique(labels), labels)]
    (count, width), total = away.shape, float((away**2).sum() / len(away))
    shrinkage = ledoit_wolf_shrinkage(away, assume_centered=True)
    _, singular, axes = randomized_svd(away, min(MAX_AXES, count - 1, width - 1), random_state=0)
    along = (1 - shrinkage) * singular**2 / count
    isotropic = shrinkage * total / width
    rest = isotropic + ((1 - shrinkage) * total - along.sum()).clip(0) / (width - len(along))
    weights = np.sqrt((1 - rest / np.maximum(along + isotropic, 1e-12)).clip(0))
    known = KnownFeatures(means.astype("float32"), (weights[:, None] * axes).astype("float32"), np.array(np.inf))
    threshold = np.quantile(known.distances(validation), QUANTILE, method="higher") * SLACK
    return KnownFeatures(known.means, known.axes, np.array(threshold))


def find_unsure(
    outputs: np.ndarray, features: np.ndarray | None, known: KnownFeatures | None, threshold: float | None
) -> np.ndarray:
    """Return which outputs `(N, K)` are below a threshold, or have features `(N, C)` too far away; bool `(N,)`."""
    far = np.zeros(len(outputs), bool)
    if known is not None and features is not None:
        far = known.distances(features) > known.threshold
    return far | (outputs.max(axis=1) < threshold) if threshold else far


def load_known(folder: Path, width: int) -> KnownFeatures | None:
    """Read what a run knows of features `(N, width)`; None where it has no such file, as one of an earlier version."""
    try:
        known = KnownFeatures(**read_npz(folder / FILE))
        if known.means.shape[1:] == known.axes.shape[1:] == (width,) and known.threshold.shape == ():
            return known
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        pass
    raise UserError(f"{folder / FILE} is damaged, or not of this run. Restore it, or remove it to do without.")
