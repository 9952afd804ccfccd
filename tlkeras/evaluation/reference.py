"""What a model gave for validation examples, in counts and projected features: drift is measured against it."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.utils.extmath import randomized_svd

from tlkeras.config.fields import Task
from tlkeras.errors import UserError
from tlkeras.io.arrays import read_npz

FILE = "reference.npz"
MAX_ROWS = 500  # of validation
MAX_AXES = 64  # directions in which the features of training examples vary most
RIDGE = 0.3  # of the mean variance, added to that of each axis, so that no axis of little variance outweighs all
LEVELS = 10  # of the confidence, or of the number, each with a tenth of the validation examples


class Counts(NamedTuple):
    """Counts of predicted examples, which can be added up; those of several days have a first axis of days."""

    images: np.ndarray  # int64 ()
    unsure: np.ndarray  # int64 ()
    classes: np.ndarray  # int64 (K,): how often each label was predicted; (0,) for regression
    levels: np.ndarray  # int64 (B,): confidence, or the number, by level


@dataclass(frozen=True)
class Reference:
    """Validation examples of a run, and how others are counted and projected as they were."""

    center: np.ndarray  # float32 (C,): mean of the features of training examples
    axes: np.ndarray  # float32 (R, C): projections along them have about unit variance
    edges: np.ndarray  # float64 (B - 1,): between the levels
    rows: np.ndarray  # float16 (N, R): projected features
    images: np.ndarray
    unsure: np.ndarray
    classes: np.ndarray
    levels: np.ndarray

    def project(self, features: np.ndarray) -> np.ndarray:
        """Return features `(N, C)` along the axes, float16 `(N, R)`."""
        return ((features - self.center) @ self.axes.T).clip(-1e4, 1e4).astype("float16")

    def save(self, folder: Path) -> None:
        """Write all into a run's folder."""
        np.savez_compressed(folder / FILE, **vars(self))


def count(outputs: np.ndarray, unsure: np.ndarray, task: Task, edges: np.ndarray) -> Counts:
    """Return the counts of outputs `(N, K)`, of which some are unsure, bool `(N,)`."""
    classes = np.zeros(0, "int64")
    if task == "single_label":
        classes = np.bincount(outputs.argmax(axis=1), minlength=outputs.shape[1])
    elif task == "multi_label":
        classes = (outputs >= 0.5).sum(axis=0)
    levels = np.bincount(np.searchsorted(edges, outputs.max(axis=1), side="right"), minlength=len(edges) + 1)
    return Counts(*(np.asarray(part, "int64") for part in (len(outputs), unsure.sum(), classes, levels)))


def fit_reference(
    training: np.ndarray, validation: np.ndarray, outputs: np.ndarray, unsure: np.ndarray, task: Task
) -> Reference:
    """Return the reference of validation features `(N, C)` and outputs `(N, K)`, of which some are unsure, bool `(N,)`.

    The axes come from training features, so that the validation examples are to them what any new ones are.
    """
    training, validation = training.astype("float32"), validation.astype("float32")  # which may be of half precision
    center, count_axes = training.mean(axis=0), min(MAX_AXES, len(training) - 1, training.shape[1])
    _, singular, axes = randomized_svd(training - center, count_axes, random_state=0)
    variance = singular**2 / len(training)
    scale = np.sqrt(variance + RIDGE * variance.mean()).clip(1e-6)
    edges = np.unique(np.quantile(outputs.max(axis=1), np.linspace(0, 1, LEVELS + 1)[1:-1]).astype("float64"))
    rows = np.unique(np.linspace(0, len(validation) - 1, MAX_ROWS).astype(int))
    counts = count(outputs, unsure, task, edges)._asdict()
    empty = Reference(center, (axes / scale[:, None]).astype("float32"), edges, np.zeros((0, count_axes)), **counts)
    return Reference(empty.center, empty.axes, edges, empty.project(validation[rows]), **counts)


def load_reference(folder: Path) -> Reference:
    """Read the reference of a run; refuse a run without it."""
    try:
        reference = Reference(**read_npz(folder / FILE))
        (axes, width), levels = reference.axes.shape, len(reference.edges) + 1
        if (reference.rows.shape[1:], reference.center.shape, reference.levels.shape) == ((axes,), (width,), (levels,)):
            return reference
    except FileNotFoundError:
        raise UserError(
            f"There is no {folder / FILE}, so there is nothing to compare with: an earlier version wrote this run, or "
            "it had fewer than 50 validation examples. Train it again, with more of them."
        ) from None
    except (ValueError, TypeError):
        pass
    raise UserError(f"{folder / FILE} is damaged. Restore it, or train again.")
