"""Metrics and their intervals: each metric equals scikit-learn's, each interval holds the truth as often as it says."""

import json
import time
import warnings

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn import metrics as sk

from tlkeras.evaluation.metrics import compute_metrics, metrics_table

RNG = np.random.default_rng(5)


def one_label(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return calibrated probabilities, some of them equal, and targets drawn from them."""
    rng = np.random.default_rng(seed)
    outputs = softmax(np.round(rng.normal(0, 1.5, (count, classes)), 1), axis=1)
    true = (rng.random((count, 1)) > outputs.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
    return outputs, np.eye(classes)[true]


def several_labels(count: int, labels: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    outputs = expit(np.round(rng.normal(-1, 2, (count, labels)), 1))
    return outputs, (rng.random(outputs.shape) < outputs).astype("float64")


def averages(true: np.ndarray, decided: np.ndarray) -> dict[str, float]:
    found = {}
    for average in ("macro", "weighted"):
        values = sk.precision_recall_fscore_support(true, decided, average=average, zero_division=0.0)
        found |= {
            f"{average}_{name}": value for name, value in zip(("precision", "recall", "f1"), values, strict=False)
        }
    return found


@pytest.mark.parametrize(("count", "classes"), [(300, 2), (900, 4), (700, 7)])
def test_metrics_of_one_label_are_those_of_scikit_learn(count, classes):
    outputs, targets = one_label(count, classes)
    true, decided, every = targets.argmax(axis=1), outputs.argmax(axis=1), range(classes)
    expected = averages(true, decided) | {
        "accuracy": sk.accuracy_score(true, decided),
        "balanced_accuracy": sk.balanced_accuracy_score(true, decided),
        "loss": sk.log_loss(true, outputs, labels=every),
        "brier": sk.brier_score_loss(true, outputs, labels=every) if classes > 2
        else sk.brier_score_loss(true, outputs[:, 1]),
        "roc_auc": np.mean([sk.roc_auc_score(targets[:, k], outputs[:, k]) for k in every]),
        "average_precision": sk.average_precision_score(targets, outputs, average="macro"),
    }  # fmt: skip
    expected |= {f"top_{k}_accuracy": sk.top_k_accuracy_score(true, outputs, k=k) for k in (3, 5) if k < classes}
    found = compute_metrics(outputs, targets, "single_label", [str(k) for k in every])
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert set(found["intervals_95"]) == {*expected, "ece"}
    assert found["confusion_matrix"] == sk.confusion_matrix(true, decided).tolist()
    assert sum(map(sum, found["confusion_matrix"])) == found["count"] == count
    assert sum(row["count"] for row in found["classes"].values()) == count
    if classes > 2:
        assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(true, outputs, multi_class="ovr"), abs=1e-9)


def test_metrics_of_several_labels_are_those_of_scikit_learn():
    outputs, targets = several_labels(800, 5)
    decided = outputs >= 0.5
    expected = averages(targets > 0, decided) | {
        "accuracy": sk.accuracy_score(targets.ravel(), decided.ravel()),
        "exact_match": sk.accuracy_score(targets, decided),
        "balanced_accuracy": np.mean([sk.balanced_accuracy_score(targets[:, k], decided[:, k]) for k in range(5)]),
        "loss": sk.log_loss(targets.ravel(), outputs.ravel()),
        "brier": sk.brier_score_loss(targets.ravel(), outputs.ravel()),
        "roc_auc": sk.roc_auc_score(targets, outputs),
        "average_precision": sk.average_precision_score(targets, outputs),
    }
    found = compute_metrics(outputs, targets, "multi_label")
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert set(found["intervals_95"]) == {*expected, "ece"} and "confusion_matrix" not in found


def test_metrics_of_numbers_are_those_of_scikit_learn():
    targets = RNG.normal(1e4, 3, (500, 2))
    outputs = targets + RNG.normal(0.2, 1, (500, 2))
    found = compute_metrics(outputs, targets, "regression")
    squared = sk.mean_squared_error(targets, outputs)
    expected = {"loss": squared, "mse": squared, "rmse": squared**0.5, "r2": sk.r2_score(targets, outputs)}
    expected["mae"] = sk.mean_absolute_error(targets, outputs)
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert set(found["intervals_95"]) == set(expected)


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_intervals_hold_the_truth_about_as_often_as_they_say(task):
    """Of 60 samples of a large set, 95% intervals miss the metric of the set a few times, not never and not often."""
    make = several_labels if task == "multi_label" else one_label
    outputs, targets = make(20000, 3)
    if task == "regression":
        targets = outputs + np.random.default_rng(1).exponential(1, outputs.shape)
    truth, missed = compute_metrics(outputs, targets, task), dict.fromkeys(["loss"], 0)
    for seed in range(60):
        rows = np.random.default_rng(seed).integers(0, len(outputs), 200)
        for name, interval in compute_metrics(outputs[rows], targets[rows], task)["intervals_95"].items():
            missed[name] = missed.get(name, 0) + (not interval[0] <= truth[name] <= interval[1])
    del missed["ece" if "ece" in missed else "loss"]  # an error that is mostly that of the sample
    assert max(missed.values()) <= 9 and sum(missed.values()) >= 1, missed


def test_intervals_are_the_same_each_time_and_narrower_with_more_examples():
    few, many = (compute_metrics(*one_label(count, 3), "single_label") for count in (100, 2500))
    assert few == compute_metrics(*one_label(100, 3), "single_label")
    for name, (low, high) in many["intervals_95"].items():
        assert low <= many[name] + 5e-4 and many[name] <= high + 5e-4
        if name != "ece":
            assert (few["intervals_95"][name][1] - few["intervals_95"][name][0]) > 3 * (high - low), name


def test_curves_of_many_examples_are_exact_and_their_intervals_hold_them():
    """Resamples look at fewer points of a curve, which must not move the interval away from the metric."""
    found = compute_metrics(*one_label(6000, 3), "single_label")
    for name in ("roc_auc", "average_precision"):
        low, high = found["intervals_95"][name]
        assert low + 0.2 * (high - low) < found[name] < high - 0.2 * (high - low)


def test_ten_thousand_examples_take_seconds():
    outputs, targets = one_label(10000, 10)
    start = time.process_time()
    compute_metrics(outputs, targets, "single_label")
    assert time.process_time() - start < 5  # about one when nothing else runs


@pytest.mark.parametrize("rows", [[0], [0, 1], [2, 2, 2], []], ids=["one", "two", "copies", "none of a class"])
@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_what_is_not_defined_is_none_without_a_warning(rows, task):
    """One example, one class, a class that nothing was taken for: JSON has no NaN, and nothing is printed."""
    outputs, targets = one_label(40, 4)
    rows = rows or np.flatnonzero(targets[:, 1] == 0)
    if task == "regression":
        outputs, targets = outputs[:, :1], np.ones((40, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compute_metrics(outputs[rows], targets[rows], task, list("abcd"))
        text = metrics_table(found)
    json.dumps(found, allow_nan=False)
    if task == "regression":
        assert found["r2"] is None and text.splitlines()[-1].split() == ["R²", "undefined"]
    elif len(rows) < 4:
        assert (found["roc_auc"] is None) == (len({tuple(row) for row in targets[rows]}) == 1)
        assert all(found["intervals_95"][name] is None for name in ("loss", "macro_f1")) == (len(set(rows)) == 1)
    if task == "single_label":
        assert found["intervals_95"]["accuracy"] is not None
        absent = found["classes"]["b"]
        assert absent["count"] or absent["intervals_95"]["recall"] is None


def test_classes_have_intervals():
    found = compute_metrics(*one_label(300, 3), "single_label", list("abc"))["classes"]["b"]
    for name in ("precision", "recall", "f1"):
        low, high = found["intervals_95"][name]
        assert 0 < low < found[name] < high < 1


def test_the_table_of_metrics_fits_a_terminal():
    lines = metrics_table(compute_metrics(*one_label(300, 7), "single_label")).splitlines()
    assert lines[0].split() == ["metric", "value", "95%", "CI"] and max(map(len, lines)) <= 80
    assert lines[1].startswith("accuracy ") and " to " in lines[1] and lines[2].startswith("top-3 accuracy ")


def test_large_errors_are_whole_numbers_and_their_intervals_of_the_bootstrap_alone():
    numbers = np.linspace(0, 3000, 50)[:, None]
    found = compute_metrics(numbers + 1234.5, numbers, "regression")
    assert "1,234" in metrics_table(found) and "e+" not in metrics_table(found)
    assert found["interval_methods"].startswith("percentile bootstrap")
