"""The head of few labels: fitted at once to cached features, where that is possible."""

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.linear_probe import fit_linear_head
from tlkeras.training.two_phase import TrainingResult, train_two_phases

OPTIONS = {"batch_size": 10, "frozen_epochs": 2, "finetune_epochs": 2, "views": 2, "unfreeze": "all"}


def clusters(count: int, classes: int, views: int = 1, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features of views around one center for each class, far from zero, and the labels."""
    rng, labels = np.random.default_rng(seed), np.arange(count) % classes
    centers = 300 + 20 * np.random.default_rng(9).normal(size=(classes, 12))
    return centers[np.tile(labels, views)] + rng.normal(size=(views * count, 12), scale=10), labels


def probabilities(head, features: np.ndarray) -> np.ndarray:
    logits = features @ head.kernel + head.bias
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("views", [1, 3])
def test_the_head_tells_classes_of_other_examples_apart(classes, views):
    head = fit_linear_head(*clusters(6 * classes, classes, views), classes)
    features, labels = clusters(40 * classes, classes, seed=1)
    assert (probabilities(head, features).argmax(axis=1) == labels).mean() > 0.9


def test_the_unit_of_the_features_makes_no_difference():
    features, labels = clusters(18, 3)
    given, other = fit_linear_head(features, labels, 3), fit_linear_head(features * 1e-3 - 7, labels, 3)
    assert given.solution == other.solution
    np.testing.assert_allclose(probabilities(given, features), probabilities(other, features * 1e-3 - 7), atol=1e-6)


def test_few_examples_without_a_mistake_do_not_make_it_certain():
    for count in (1, 3):
        features, labels = clusters(3 * count, 3)
        assert 0.4 < probabilities(fit_linear_head(features, labels, 3), features).max(axis=1).mean() < 0.95


def test_a_class_with_one_example_and_one_without_any_are_no_error():
    features, labels = clusters(20, 2)
    labels[-1] = 2
    assert np.isfinite(fit_linear_head(features, labels, 4).kernel).all()


def test_the_penalty_follows_the_examples():
    """Labels that mean nothing are told apart by no more than chance, and those of clusters almost surely."""
    features, labels = clusters(30, 2)
    noise = np.random.default_rng(1).permutation(labels)
    assert probabilities(fit_linear_head(features, noise, 2), features).max(axis=1).mean() < 0.75
    assert probabilities(fit_linear_head(features, labels, 2), features).max(axis=1).mean() > 0.85


def train(colored, checkpoints=None, count: int = 30, **options) -> tuple[keras.Model, TrainingResult]:
    keras.utils.set_random_seed(0)
    model = build_classifier("Tiny", 3, weights="none", hidden_units=options.pop("hidden_units", []))
    options = TrainingOptions(**OPTIONS | options)
    return model, train_two_phases(model, colored(count), colored(15, seed=1), options, checkpoints)


def test_few_labels_make_phase_1_a_probe_and_phase_2_starts_from_it(tiny, colored, caplog):
    caplog.set_level("INFO", "tlkeras")
    model, result = train(colored, finetune_learning_rate=1.0, optimizer="adam")  # so that phase 2 is worse
    assert [(row["phase"], row["epoch"]) for row in result.history] == [("frozen", 0), ("finetune", 1), ("finetune", 2)]
    assert {tuple(row) for row in result.history} == {tuple(result.history[0])}
    assert (result.kept, result.epoch) == ("frozen", 0)
    assert result.history[0]["val_accuracy"] == 1.0
    assert any(line.startswith("Linear probe: ridge regression, chosen by cross-val") for line in caplog.messages)
    validation = colored(15, seed=1)
    outputs = model.predict_on_batch(validation.inputs)
    loss = -np.log((outputs * validation.targets).sum(axis=1)).mean()
    assert result.value == pytest.approx(loss, rel=1e-4)
    assert not get_backbone(model).trainable_weights


def test_phase_2_is_kept_where_it_is_better(tiny, colored):
    _, result = train(colored, finetune_epochs=6, finetune_learning_rate=0.01)
    assert result.kept == "finetune" and result.value < result.history[0]["val_loss"]


def test_more_labels_are_trained_on_and_always_and_never_decide(tiny, colored):
    for options in ({"count": 65}, {"linear_probe": "never"}, {"hidden_units": [4]}, {"views": 0}):
        assert [row["epoch"] for row in train(colored, finetune_epochs=0, **options)[1].history] == [1, 2]
    for options in ({"count": 64}, {"count": 65, "linear_probe": "always"}):
        probed = train(colored, finetune_epochs=0, **options)[1]
        assert [row["epoch"] for row in probed.history] == [0] and probed.kept == "frozen"


@pytest.mark.parametrize(
    ("options", "reason"),
    [({"hidden_units": [4]}, "no hidden layers"), ({"views": 0}, "features are cached"),
     ({"label_smoothing": 0.1}, "built-in one"), ({"class_weights": "balanced"}, "no weights")],
)  # fmt: skip
def test_always_is_refused_where_it_cannot_be(tiny, colored, options, reason):
    with pytest.raises(UserError, match=rf"--linear-probe was always, .* possible only where .*{reason}"):
        train(colored, linear_probe="always", **options)


class Stopping(Checkpoints):
    """Checkpoints that stop the training after the first epoch of phase 2."""

    def write(self, number, arrays, state) -> None:
        super().write(number, arrays, state)
        raise KeyboardInterrupt


def test_it_resumes_bit_by_bit(tiny, colored, tmp_path):
    expected, whole = train(colored)
    with pytest.raises(KeyboardInterrupt):
        train(colored, Stopping(tmp_path))
    model, result = train(colored, Checkpoints(tmp_path))
    assert (result.history, result.epoch, result.kept) == (whole.history, whole.epoch, whole.kept)
    assert all(np.array_equal(*pair) for pair in zip(model.get_weights(), expected.get_weights(), strict=True))
