"""Thresholds: coverage against accuracy, the reject threshold, and the operating points of labels."""

import numpy as np
import pytest

from tlkeras.evaluation.thresholds import (
    accepted_metrics,
    choose_thresholds,
    coverage_curve,
    format_accepted,
    operating_points,
    reject_threshold,
)


def two_classes(confidence: list[float], correct: list[bool]) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs that decide for the first class, and targets."""
    outputs = np.c_[confidence, 1 - np.array(confidence)]
    return outputs, np.eye(2)[1 - np.array(correct, int)]


def test_coverage_by_hand():
    coverage, accuracy = coverage_curve(*two_classes([0.6, 0.9, 0.8, 0.7], [False, True, True, False]))
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert accuracy.tolist() == pytest.approx([1, 1, 2 / 3, 0.5])


def test_reject_threshold_is_the_lowest_that_is_accurate_enough():
    confidence = np.linspace(0.99, 0.55, 45)
    correct = np.arange(45) < 30
    outputs, targets = two_classes(confidence.tolist(), correct.tolist())
    found = reject_threshold(outputs, targets, 0.9)
    assert found["threshold"] == pytest.approx(confidence[32:34].mean()) and found["coverage"] == pytest.approx(33 / 45)
    assert found["accuracy"] == pytest.approx(30 / 33)
    again = accepted_metrics(outputs, targets, found["threshold"])
    assert (again["count"], again["correct"], again["coverage"]) == (33, 30, found["coverage"])
    assert again["interval_95"][0] < again["accuracy"] < again["interval_95"][1]
    assert format_accepted(again, "images").startswith("0.733 of images, accuracy 0.909 (30 of 33; 95% CI 0.764–")
    assert reject_threshold(outputs, targets, 0.6)["threshold"] == 0  # all together are accurate enough
    assert accepted_metrics(outputs, targets, 0.0)["coverage"] == 1
    assert accepted_metrics(outputs, targets, 1.0)["accuracy"] is None
    assert format_accepted(accepted_metrics(outputs, targets, 1.0), "images") == "no confidence reaches 1.000"


def test_without_enough_sure_and_correct_examples_there_is_no_threshold():
    outputs, targets = two_classes([0.9] * 19 + [0.6] * 40, [True] * 19 + [False] * 40)
    assert reject_threshold(outputs, targets, 0.95) is None  # 19 are chance
    outputs, targets = two_classes([0.9] * 40, [True, False] * 20)
    assert reject_threshold(outputs, targets, 0.95) is None  # equal confidences are accepted together


def test_operating_points_by_hand():
    """Of the scores 0.9 + + 0.7 - + 0.5 - the best F1 takes four, and nothing below 0.7 has a precision of 1."""
    scores = np.repeat([0.9, 0.8, 0.7, 0.6, 0.5], 3)
    positive = np.repeat([1, 1, 0, 1, 0], 3)
    found = choose_thresholds(scores[:, None], positive[:, None], "multi_label", ["striped"], 0.95)
    assert "reject" not in found and found["count"] == 15
    points = found["operating_points"]["striped"]
    assert points["best_f1"] == pytest.approx({"threshold": 0.6, "precision": 0.75, "recall": 1, "f1": 6 / 7})
    assert points["wanted_precision"] == pytest.approx({"threshold": 0.8, "precision": 1, "recall": 2 / 3, "f1": 0.8})


def test_what_thresholds_hold_for_each_kind_of_labels():
    rng = np.random.default_rng(0)
    outputs = rng.dirichlet([1, 1], 60)
    two = choose_thresholds(outputs, np.eye(2)[outputs.argmax(axis=1)], "single_label", ["no", "yes"], 0.9)
    assert two["reject"]["threshold"] == 0 and set(two["operating_points"]) == {"no", "yes"}
    three = choose_thresholds(rng.dirichlet([1, 1, 1], 60), np.eye(3)[[0] * 60], "single_label", list("abc"), 0.9)
    assert "operating_points" not in three and three["wanted"] == 0.9
    absent = choose_thresholds(outputs, np.zeros((60, 2)), "multi_label", ["no", "yes"], 0.9)
    assert absent["operating_points"] == {"no": None, "yes": None}
    never = choose_thresholds(np.array([[0.9], [0.1]]), np.array([[0.0], [1.0]]), "multi_label", ["x"], 0.9)
    assert never["operating_points"]["x"]["wanted_precision"] is None


def test_of_equal_recall_the_most_precise_threshold_is_taken_and_few_examples_are_chance():
    scores, positive = np.repeat([0.9, 0.8, 0.3, 0.2], 3), np.repeat([1, 1, 0, 0], 3)
    assert operating_points(scores, positive, 0.4)["wanted_precision"]["threshold"] == 0.8
    assert operating_points(scores[::3], positive[::3], 0.4)["wanted_precision"] is None
