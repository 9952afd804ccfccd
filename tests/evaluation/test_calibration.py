"""Calibration: what was distorted is undone, what was right is left alone, a layer takes it up, the order stays."""

import keras
import numpy as np
import pytest
from scipy.special import expit, logit, softmax

from tlkeras.evaluation.calibration import (
    choose_calibration,
    expected_calibration_error,
    fit,
    reliability,
)


def overconfident(count: int, times: float, seed: int = 0, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities whose logits are so many times too large, and targets."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (count, classes))
    true = [rng.choice(classes, p=row) for row in softmax(scores, axis=1)]
    return softmax(scores * times, axis=1).astype("float32"), np.eye(classes)[true]


def distorted_labels(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of two labels, the first too sure and too high, the second as they should be."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (count, 2))
    targets = (rng.random(scores.shape) < expit(scores)).astype("float64")
    return expit(scores * [3.0, 1.0] + [2.0, 0.0]).astype("float32"), targets


def test_error_by_hand():
    """Two bins of four examples: 0.9 on average and all correct, 0.6 and half of them."""
    outputs = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    targets = np.eye(2)[[0, 0, 0, 1]]
    assert expected_calibration_error(outputs, targets, "single_label") == pytest.approx((0.1 + 0.1) / 2)
    assert [row["count"] for row in reliability(outputs, targets, "single_label")] == [2, 2]
    assert [row["accuracy"] for row in reliability(outputs, targets, "single_label")] == [0.5, 1.0]
    assert [row["confidence"] for row in reliability(outputs, targets, "single_label")] == pytest.approx([0.6, 0.9])
    # Of several labels each probability counts, those of what is absent too: 0.1 and 0.4 are in bins of their own.
    several = expected_calibration_error(outputs, np.array([[1, 0], [1, 0], [1, 0], [0, 1]]), "multi_label")
    assert several == pytest.approx((2 * 0.1 + 2 * 0.1 + 2 * 0.1 + 2 * 0.1) / 8)


def test_a_sure_output_is_in_the_last_bin():
    assert reliability(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0]]), "single_label")[0]["confidence"] == 1.0


@pytest.mark.parametrize("times", [0.4, 2.5])
def test_what_is_too_sure_or_not_sure_enough_is_undone(times):
    outputs, targets = overconfident(2000, times)
    calibration, said = choose_calibration(outputs, targets, "single_label")
    assert said["temperature"] == pytest.approx(times, rel=0.1)
    assert said["ece_after"] < said["ece_before"] / 2
    others, their_targets = overconfident(2000, times, seed=1)
    changed = calibration.apply(others)
    before, after = (expected_calibration_error(o, their_targets, "single_label") for o in (others, changed))
    assert after < before / 2 and after == pytest.approx(said["ece_after"], abs=0.02)
    assert np.array_equal(changed.argmax(axis=1), others.argmax(axis=1))


def test_of_several_labels_each_is_calibrated_by_itself_and_only_where_it_helps():
    calibration, said = choose_calibration(*distorted_labels(3000), "multi_label")
    assert said["slopes"][0] == pytest.approx(1 / 3, rel=0.15)
    assert said["offsets"][0] == pytest.approx(-2 / 3, abs=0.15)
    outputs, targets = distorted_labels(3000, seed=1)
    changed = calibration.apply(outputs)
    before, after = (expected_calibration_error(o, targets, "multi_label") for o in (outputs, changed))
    assert after < before / 2
    assert abs(changed[:, 1] - outputs[:, 1]).max() < 0.05
    assert np.all(np.diff(changed[np.argsort(outputs[:, 0]), 0]) >= 0)  # the order of examples within a label stays


def test_few_examples_and_a_handful_of_mistakes_change_little():
    """As validation is small, a calibrated model must not become worse: over 40 draws, on examples of their own."""
    others, targets = overconfident(4000, 1.0, seed=99)
    before = expected_calibration_error(others, targets, "single_label")
    changes = []
    for seed in range(40):
        calibration, _ = choose_calibration(*overconfident(60, 1.0, seed=seed), "single_label")
        after = others if calibration is None else calibration.apply(others)
        changes.append(expected_calibration_error(after, targets, "single_label") - before)
    assert np.mean(changes) < 0.015 and max(changes) < 0.08
    sure = np.array([[0.999, 0.001]] * 60, "float32")
    assert 0.3 < 1 / fit(sure, np.eye(2)[[0] * 60], "single_label").slopes[0] <= 1


@pytest.mark.parametrize(
    ("outputs", "task", "reason"),
    [
        (np.full((49, 2), 0.5), "single_label", "fewer than 50 validation examples"),
        (np.zeros((99, 1)), "regression", "numbers have no probabilities"),
        (np.full((80, 2), 0.5), "single_label", "not fitted on"),
    ],
)
def test_where_there_is_no_calibration_the_reason_is_told(outputs, task, reason):
    calibration, said = choose_calibration(outputs, np.eye(2)[np.arange(len(outputs)) % 2][:, : outputs.shape[1]], task)
    assert calibration is None and reason in said


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_the_output_layer_takes_it_up(task):
    make = overconfident if task == "single_label" else lambda count, *_: distorted_labels(count)
    outputs, targets = make(500, 2.5)
    calibration = fit(outputs, targets, task)
    scores = np.log(outputs) if task == "single_label" else logit(np.clip(outputs.astype("float64"), 1e-7, 1 - 1e-7))
    layer = keras.layers.Dense(outputs.shape[1], "softmax" if task == "single_label" else "sigmoid")
    layer.build(scores.shape)
    layer.set_weights([np.eye(outputs.shape[1]), np.zeros(outputs.shape[1])])
    calibration.fold_into(layer)
    assert np.allclose(layer(scores), calibration.apply(outputs), atol=1e-5)
