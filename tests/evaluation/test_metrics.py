"""Metrics against ones worked out by hand or published."""

import numpy as np
import pytest
from PIL import Image

from tlkeras.evaluation.intervals import wilson_interval
from tlkeras.evaluation.metrics import (
    class_table,
    compute_metrics,
    format_metrics,
    per_class_metrics,
)
from tlkeras.evaluation.plots import plot_history

# Four images of the classes 0, 0, 1, 2; the second is predicted as class 1.
SINGLE = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.25, 0.5, 0.25], [0.1, 0.1, 0.8]], "float32")
SINGLE_TARGETS = np.eye(3, dtype="float32")[[0, 0, 1, 2]]
# Three images with two labels: correct, one label of two wrong, correct.
MULTI = np.array([[0.9, 0.2], [0.4, 0.7], [0.1, 0.5]], "float32")
MULTI_TARGETS = np.array([[1, 0], [1, 1], [0, 1]], "float32")


def test_one_label():
    found = compute_metrics(SINGLE, SINGLE_TARGETS, "single_label")
    assert (found["count"], found["correct"], found["accuracy"]) == (4, 3, 0.75)
    assert found["loss"] == pytest.approx(-(np.log(0.7) + np.log(0.3) + np.log(0.5) + np.log(0.8)) / 4)
    # Class 0: precision 1, recall 1/2; class 1: precision 1/2, recall 1; class 2: both 1.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)


@pytest.mark.parametrize(
    ("correct", "count", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17:857–872, table I, method 3 (the score method of Wilson).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (29, 29, 0.8830, 1.0),
    ],
)
def test_interval_of_wilson(correct, count, low, high):
    assert wilson_interval(correct, count) == pytest.approx([low, high], abs=1e-4)


def test_loss_of_a_sure_mistake_is_finite():
    outputs = np.array([[1.0, 0.0]], "float32")
    assert compute_metrics(outputs, np.array([[0.0, 1.0]]), "single_label")["loss"] == pytest.approx(-np.log(1e-7))
    assert np.isfinite(compute_metrics(outputs, np.array([[0.0, 1.0]]), "multi_label")["loss"])


def test_several_labels():
    found = compute_metrics(MULTI, MULTI_TARGETS, "multi_label")
    assert found["count"] == 3
    assert found["accuracy"] == pytest.approx(5 / 6)
    assert found["exact_match"] == pytest.approx(2 / 3)
    # Class 0: precision 1, recall 1/2; class 1: both 1.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    likelihoods = [0.9, 0.8, 0.4, 0.7, 0.9, 0.5]
    assert found["loss"] == pytest.approx(-np.log(likelihoods).mean(), rel=1e-6)


def test_numbers():
    found = compute_metrics(np.array([[1.0], [2.0], [6.0]]), np.array([[2.0], [2.0], [4.0]]), "regression")
    assert found["count"] == 3
    assert found["mae"] == pytest.approx(1)
    assert found["loss"] == pytest.approx(5 / 3) and found["rmse"] == pytest.approx((5 / 3) ** 0.5)
    assert found["r2"] == pytest.approx(1 - 5 / (8 / 3))


def test_classes():
    classes = per_class_metrics(SINGLE, SINGLE_TARGETS, "single_label", ["ant", "bee", "cat"])
    assert classes["ant"] == pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3, "count": 2})
    assert classes["bee"] == pytest.approx({"precision": 0.5, "recall": 1, "f1": 2 / 3, "count": 1})
    assert class_table(classes).splitlines() == [
        "class  precision  recall     f1  count",
        "ant        1.000   0.500  0.667      2",
        "bee        0.500   1.000  0.667      1",
        "cat        1.000   1.000  1.000      1",
    ]


@pytest.mark.filterwarnings("error")
def test_a_table_of_classes_has_80_columns():
    row = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "count": 10}
    lines = class_table({"ant": row, "x" * 100: row}).splitlines()
    assert [len(line) for line in lines] == [len(lines[0])] * 3 and len(lines[0]) <= 80 and "x…" in lines[2]


def test_classes_without_examples_or_decisions():
    """As when a folder of one class is evaluated; scikit-learn does not warn."""
    classes = per_class_metrics(SINGLE[:1], SINGLE_TARGETS[:1], "single_label", ["ant", "bee", "cat"])
    assert classes["cat"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "count": 0}
    classes = per_class_metrics(MULTI, MULTI_TARGETS, "multi_label", ["odd", "even"])
    assert classes["odd"] == pytest.approx({"precision": 1, "recall": 0.5, "f1": 2 / 3, "count": 2})


def test_formatted_metrics():
    assert format_metrics(compute_metrics(SINGLE, SINGLE_TARGETS, "single_label")) == (
        "accuracy 0.750 (3 of 4 images; 95% CI 0.301–0.954; always the majority class: 0.500)"
    )
    assert "0.667 with all labels correct (3 images)" in format_metrics(
        compute_metrics(MULTI, MULTI_TARGETS, "multi_label")
    )
    numbers = compute_metrics(np.array([[1.0], [2.0]]), np.array([[2.0], [2.5]]), "regression")
    assert format_metrics(numbers) == "mean absolute error 0.75 (2 images; R² -9.000)"
    one = compute_metrics(np.array([[1.0]]), np.array([[2.0]]), "regression")
    assert format_metrics(one) == "mean absolute error 1 (1 images)"


def test_what_the_majority_alone_would_give_is_said_where_it_explains_the_accuracy():
    targets = np.eye(2)[[0] * 190 + [1] * 10]
    always = compute_metrics(np.tile([0.9, 0.1], (200, 1)), targets, "single_label")
    assert always["accuracy"] == always["majority_accuracy"] == 0.95
    assert "95% CI 0.910–0.973; always the majority class: 0.950)" in format_metrics(always)
    balanced = np.eye(2)[np.arange(100) % 2]
    assert "majority" not in format_metrics(compute_metrics(balanced, balanced, "single_label"))
    assert "majority" not in format_metrics(compute_metrics(targets[:9], targets[:9], "single_label"))  # one class
    several = compute_metrics(np.full((200, 2), 0.1), np.c_[targets[:, 1], targets[:, 1]], "multi_label")
    assert "all labels correct (200 images; always the majority of each label: 0.950)" in format_metrics(several)
    del several["majority_accuracy"]  # as in the runs of earlier versions
    assert "majority" not in format_metrics(several)


@pytest.mark.parametrize(("metric", "finetune"), [("accuracy", 3), ("mae", 3), ("accuracy", 0)])
def test_history_is_plotted(tmp_path, metric, finetune):
    history = [
        {"phase": "frozen" if epoch <= 4 else "finetune", "epoch": epoch, "loss": 1 / epoch, metric: 0.5 + epoch / 20}
        | {"val_loss": 1.2 / epoch, f"val_{metric}": 0.45 + epoch / 20}
        for epoch in range(1, 5 + finetune)
    ]
    plot_history(history, 3, tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as image:
        assert image.size == (1200, 480)
        assert len(set(image.convert("RGB").resize((300, 120)).get_flattened_data())) > 50
