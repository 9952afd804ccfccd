"""The test of learning rates says where training works, and leaves the model as it was."""

import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.training.learning_rate import LearningRateTest, find_learning_rates, plot_learning_rates

PLAIN = {"batch_size": 10, "flip": "none", "min_crop_area": 1.0, "color_jitter": 0.0, "frozen_epochs": 3}


def test_rates_are_suggested_for_both_phases_and_the_model_is_left_as_it_was(tiny, colored):
    model, data = build_classifier("Tiny", 3, weights="none", dropout=0.0), colored(30)
    before = model.get_weights()
    tests = find_learning_rates(model, data, data, unfreeze="all", **PLAIN)
    assert list(tests) == ["frozen", "finetune"]
    for test in tests.values():
        assert test.suggested == pytest.approx(test.lowest / 10, rel=0.5) and 1e-5 < test.suggested <= 1
        assert test.losses.min() < 0.9 * test.losses[0] and np.isfinite(test.losses).all()
        assert (np.diff(test.rates) > 0).all() and len(test.rates) == len(test.losses)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))
    assert len(model.trainable_weights) == 2


def test_without_a_second_phase_there_is_one_test(tiny, colored):
    model, data = build_classifier("Tiny", 3, weights="none"), colored(30)
    assert list(find_learning_rates(model, data, data, finetune_epochs=0, **PLAIN)) == ["frozen"]


def test_mistakes_are_sentences(tiny, colored):
    with pytest.raises(UserError, match="Unknown option lr of find_learning_rates"):
        find_learning_rates(build_classifier("Tiny", 3, weights="none"), colored(30), colored(30), lr=1)


def test_the_plot_marks_what_is_suggested(tmp_path):
    test = LearningRateTest(np.geomspace(1e-7, 1, 8), np.array([1, 1, 1, 0.9, 0.5, 0.2, 0.3, 2.0]))
    figure = plot_learning_rates({"frozen": test}, tmp_path / "rates.png")
    (axes,) = figure.axes
    assert axes.get_legend().get_texts()[0].get_text() == f"--head-learning-rate {test.suggested:g}"
    assert test.suggested == 0.001 and (tmp_path / "rates.png").read_bytes().startswith(b"\x89PNG")
