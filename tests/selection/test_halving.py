"""Successive halving: the worse half goes, nothing is computed twice, and a budget is kept."""

import time

import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.selection.halving import Candidate, count_folds, halve, measure, round_sizes

LABELS = np.arange(800) % 4
GROUPS, ORDER = np.arange(800), np.random.default_rng(0).permutation(800)


def candidates(strengths: dict[str, float], seen: dict[str, list[int]] | None = None) -> list[Candidate]:
    """Return candidates whose features tell the classes apart so well."""

    def make(name: str, strength: float) -> Candidate:
        def features_of(rows: np.ndarray) -> np.ndarray:
            if seen is not None:
                seen.setdefault(name, []).extend(rows)
            noise = np.random.default_rng(len(name)).normal(size=(800, 8))
            return noise[rows] + strength * np.eye(4, 8)[LABELS[ORDER[rows]]]

        return Candidate(name, features_of)

    return [make(name, strength) for name, strength in strengths.items()]


@pytest.mark.parametrize(
    ("count", "examples", "classes", "sizes"),
    [(3, 800, 4, [800]), (6, 800, 4, [400, 800]), (12, 800, 4, [200, 400, 800]), (12, 10**5, 4, [500, 1000, 2000]),
     (12, 90, 4, [90, 90, 90]), (12, 800, 40, [400, 400, 800]), (1, 800, 4, [800])],
)  # fmt: skip
def test_rounds_grow_as_candidates_go(count, examples, classes, sizes):
    assert round_sizes(count, examples, classes) == sizes


def test_the_worse_half_goes_and_no_feature_is_computed_twice():
    seen: dict[str, list[int]] = {}
    given = candidates({"bad": 0.0, "good": 2.0, "fair": 1.0, "poor": 0.5}, seen)
    finalists, late = halve(given, LABELS[ORDER], GROUPS, deadline=np.inf)
    assert [one.name for one in finalists] == ["good", "fair", "poor"] and not late
    assert {name: len(rows) for name, rows in seen.items()} == {"bad": 400, "good": 800, "fair": 800, "poor": 800}
    assert all(len(set(rows)) == len(rows) for rows in seen.values())
    low, high = finalists[0].metrics["interval_95"]
    assert low < finalists[0].metrics["accuracy"] < high


def test_copies_are_predicted_by_others_alone():
    """Each example is there twice: who could see its copy would be right by heart."""
    rows = np.arange(800) // 2
    labels = np.random.default_rng(1).integers(0, 2, 400)[rows]
    noise = np.random.default_rng(2).normal(size=(400, 400))[rows]

    def accuracy(groups: np.ndarray) -> float:
        candidate = Candidate("noise", lambda chosen: noise[chosen])
        halve([candidate], labels, groups, deadline=np.inf)
        return candidate.metrics["accuracy"]

    assert accuracy(rows) < 0.6 < 0.8 < accuracy(np.arange(800))


def test_a_candidate_that_fails_is_left_out_and_the_last_one_raises(caplog):
    def fail(rows):
        raise UserError("There are no weights.")

    given = [Candidate("lost", fail), *candidates({"good": 2.0})]
    finalists, late = halve(given, LABELS[ORDER], GROUPS, deadline=np.inf)
    assert [one.name for one in finalists] == ["good"] and not late
    assert "lost was left out: There are no weights." in caplog.text
    with pytest.raises(UserError, match="There are no weights"):
        halve([Candidate("lost", fail), Candidate("lost too", fail)], LABELS, GROUPS, deadline=np.inf)


@pytest.mark.parametrize(
    ("labels", "groups", "folds"),
    [([0] * 5 + [1], range(6), None), ([0, 0, 1, 1], [0, 0, 0, 1], None), ([0, 1, 2], range(3), None),
     ([0] * 9, range(9), None), ([0, 0, 0, 1, 1], range(5), 2), ([0] * 5 + [1] * 4 + [2], range(10), 4),
     ([0] * 5 + [1] * 4 + [2] * 2, range(11), 2), ([0, 1] * 9, range(18), 5)],
)  # fmt: skip
def test_classes_need_two_examples_that_are_no_copies(labels, groups, folds):
    labels, groups = np.array(labels), np.array(groups)
    if folds is None:
        with pytest.raises(UserError, match="It needs two classes with two examples each that are neither copies"):
            count_folds(labels, groups)
        return
    assert count_folds(labels, groups) == folds
    candidate = Candidate("noise", lambda rows: np.random.default_rng(0).normal(size=(len(rows), 3)))
    measure(candidate, labels, groups, folds)
    assert candidate.probabilities.shape == (len(labels), labels.max() + 1)


def test_what_does_not_fit_into_the_budget_is_named():
    given = candidates({"first": 1.0, "second": 1.0})
    finalists, late = halve(given, LABELS[ORDER], GROUPS, deadline=time.monotonic() - 1)
    assert not finalists and late == ["first", "second"]


def test_a_round_that_would_be_late_does_not_begin():
    given = candidates({"bad": 0.0, "good": 2.0, "fair": 1.0, "poor": 0.5})
    slow = given[1].features_of
    given[1].features_of = lambda rows: (time.sleep(1.0), slow(rows))[1]
    given = [*given[:1], *given[2:], given[1]]  # the slow one last, as it would make the others late
    finalists, late = halve(given, LABELS[ORDER], GROUPS, deadline=time.monotonic() + 60)
    assert finalists[0].metrics["images"] == 800
    again = [Candidate(one.name, one.features_of) for one in given]
    clock = time.monotonic
    spent = max(sum(one.seconds for one in given) / 2, 1.0)
    finalists, late = halve(again, LABELS[ORDER], GROUPS, deadline=clock() + spent + 0.2)
    assert not late and [one.name for one in finalists] == ["good", "fair", "poor"]
    assert finalists[0].metrics["images"] == 400
