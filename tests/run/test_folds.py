"""What is held out while something is chosen."""

from types import SimpleNamespace

import numpy as np
import pytest

from tlkeras.run import folds


@pytest.fixture
def held_out(monkeypatch):
    """Return `held_out(labels, groups, validation)`: the folds, where so many last examples are for validation."""

    def split(labels, groups, validation=1):
        monkeypatch.setattr(folds, "class_labels", lambda data, rows: np.array(labels)[rows])
        monkeypatch.setattr(folds, "example_groups", lambda data, rows: np.array(groups)[rows])
        train, rest = np.split(np.arange(len(labels)), [-validation])
        return folds.validation_folds(SimpleNamespace(splits={"train": train, "validation": rest}), seed=0)

    return split


def test_few_validation_examples_are_held_out_in_folds_with_the_others(held_out):
    groups = np.arange(60) // 2
    found = held_out(groups % 3, groups, validation=6)
    assert len(found) == 3 and sorted(np.concatenate([rows for _, rows in found])) == list(range(60))
    for train, rows in found:
        assert not set(train) & set(rows) and not set(groups[train]) & set(groups[rows])
        assert np.bincount((groups % 3)[rows]).min() >= 6


def test_many_validation_examples_are_held_out_once(held_out, monkeypatch):
    monkeypatch.setattr(folds, "MIN_VALIDATION", 6)
    ((train, rows),) = held_out([0, 1] * 30, range(60), validation=6)
    assert train.tolist() == list(range(54)) and rows.tolist() == list(range(54, 60))


@pytest.mark.parametrize(
    ("labels", "groups", "count"),
    [([0, 0, 1, 1], [0, 1, 2, 3], 2), ([0, 1, 2], [0, 1, 2], 1), ([0, 0, 1, 1, 0, 1], [0, 0, 0, 1, 1, 1], 2),
     ([0, 1] * 5, [0] * 10, 1)],
)  # fmt: skip
def test_there_are_no_more_folds_than_groups_or_examples_of_a_class(held_out, labels, groups, count, recwarn):
    found = held_out(labels, groups)
    assert len(found) == count and all(len(train) and len(rows) for train, rows in found) and not recwarn
