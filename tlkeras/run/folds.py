"""Which examples are trained on and which are held out while something is chosen: copies are on one side."""

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from tlkeras.data.duplicates import link, near_duplicates, without_crowds
from tlkeras.data.prepare import PreparedData
from tlkeras.modalities.base import SIDE

MIN_VALIDATION = 200  # examples; with fewer, training and validation examples are cross-validated
MAX_FOLDED = 2000  # examples; with more, training in folds takes too long
FOLDS = 3
DECODED = 4096  # examples of which thumbnails are made at a time


def validation_folds(data: PreparedData, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return rows to train on and rows held out, of training and validation examples.

    A validation split that is large enough is held out once; else all are, in folds, unless there is but one group.
    """
    train, validation = data.splits["train"], data.splits["validation"]
    rows = np.concatenate([train, validation])
    if len(validation) >= MIN_VALIDATION or len(rows) > MAX_FOLDED:
        return [(train, validation)]
    labels, groups = class_labels(data, rows), example_groups(data, rows)
    count = min(FOLDS, len(np.unique(groups)), np.bincount(labels).max())
    if count < 2:
        return [(train, validation)]
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classes with fewer examples than folds
        return [(rows[train], rows[held_out]) for train, held_out in folds.split(rows, labels, groups)]


def class_labels(data: PreparedData, rows: np.ndarray) -> np.ndarray:
    """Return the class indices `(n,)` of some rows."""
    return np.array([data.classes.index(str(data.examples[row].label)) for row in rows])


def example_groups(data: PreparedData, rows: np.ndarray) -> np.ndarray:
    """Return the groups `(n,)` of some rows: those that were given, in which copies are together."""
    digests = [data.digests[row] for row in rows]
    parts = np.split(rows, range(DECODED, len(rows), DECODED))  # of which one is in memory
    thumbnails = np.concatenate([data.modality.thumbnails(data.inputs[part], SIDE) for part in parts])
    near = near_duplicates(thumbnails, digests)
    return link(len(rows), without_crowds(near, len(rows)), digests, [data.examples[row].group for row in rows])
