"""Two phases on generated images whose color is the label, with a backbone that trains in a second."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.evaluation import outputs
from tlkeras.evaluation.outputs import LazyFeatures, head_outputs, pooled_features
from tlkeras.features.extract import ExtractionJob
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone
from tlkeras.training import two_phase
from tlkeras.training.phase_inputs import epoch_rows
from tlkeras.training.two_phase import LEARNED, train_two_phases

# 30 images make 3 steps an epoch.
PLAIN = {"batch_size": 10, "linear_probe": "never", "flip": "none", "min_crop_area": 1.0, "color_jitter": 0.0}
# Enough to train the tiny backbone from random weights.
ENOUGH = {
    "frozen_epochs": 5, "finetune_epochs": 10, "unfreeze": "all", "head_learning_rate": 0.1,
    "finetune_learning_rate": 0.02, "patience": 20,
}  # fmt: skip


def build(data, task: str = "single_label", **options) -> keras.Model:
    options = {"weights": "none", "dropout": 0.0} | options
    model = build_classifier("Tiny", data.targets.shape[1], task=task, **options)
    calibrate_batch_norm(model, data.inputs)
    return model


def evaluate(model: keras.Model, data) -> tuple[float, float]:
    """Return loss and accuracy of a classifier, computed here."""
    probabilities = model.predict_on_batch(data.inputs)
    right = probabilities.argmax(axis=1) == data.targets.argmax(axis=1)
    return -np.log((probabilities * data.targets).sum(axis=1)).mean(), right.mean()


def scores(monkeypatch, *values: float) -> None:
    """Let the epochs have these scores, whatever their metrics."""
    given = iter(values)
    monkeypatch.setattr("tlkeras.training.callbacks.score", lambda logs, task: (next(given),))


def weights_of(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in model.weights]


def same(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_head_with_statistics_of_its_own_is_restored_with_them(tiny, colored, monkeypatch):
    train, validation = colored(30), colored(15, seed=1)
    model = build(train, dropout=0.2, head=keras.layers.BatchNormalization(momentum=0.5, name="own"))
    scores(monkeypatch, *range(9, 4, -1))
    result = train_two_phases(model, train, validation, TrainingOptions(**PLAIN, frozen_epochs=5, finetune_epochs=0))
    assert result.epoch == 1
    assert result.history[0]["val_loss"] == pytest.approx(evaluate(model, validation)[0], rel=1e-4)


def test_layers_decay_where_only_the_top_is_unfrozen():
    given, default = TrainingOptions(unfreeze="all"), TrainingOptions()
    assert [default.with_defaults(name).layer_decay for name in ("conv2", "all", "ALL", "100%")] == [0.8, 1, 1, 1]
    assert given.with_defaults("conv2").layer_decay == default.with_defaults("conv2", pretrained=False).layer_decay == 1
    assert TrainingOptions(unfreeze="conv2").with_defaults("all", pretrained=False).layer_decay == 1
    assert TrainingOptions(unfreeze="all", layer_decay=0.9).with_defaults("conv2").layer_decay == 0.9


def test_few_examples_are_fine_tuned_in_more_epochs(tiny, colored, monkeypatch):
    """300 steps, of which patience leaves out what brings nothing."""
    for count, *expected in ((30, 100, 17), (32, 75, 13), (3000, 10, 5)):
        options = TrainingOptions(batch_size=10).for_examples(count)
        assert [options.finetune_epochs, options.patience] == expected
    options = TrainingOptions(finetune_epochs=2, patience=1).for_examples(30)
    assert (options.finetune_epochs, options.patience) == (2, 1)
    rare = colored(27, labels=lambda _: np.eye(2)[(np.arange(27) < 2).astype(int)])
    drawn = epoch_rows(rare, TrainingOptions(class_weights="oversample"))
    assert len(drawn) == 50 and len(epoch_rows(rare, TrainingOptions())) == 27
    train, validation = colored(30), colored(15, seed=1)
    scores(monkeypatch, 1.0, *range(2, 14), *[0.5] * 17)
    result = train_two_phases(build(train), train, validation, TrainingOptions(**PLAIN, frozen_epochs=1, views=1))
    assert (len(result.history), result.epoch) == (30, 13)
    assert result.history[-1]["learning_rate"] > 9e-5  # the schedule is that of 100 epochs


def test_both_phases_train_and_are_one_table(tiny, colored):
    train, validation = colored(30), colored(15, seed=1)
    model = build(train)
    result = train_two_phases(model, train, validation, TrainingOptions(**PLAIN, **ENOUGH))
    expected = [("frozen", epoch) for epoch in range(1, 6)] + [("finetune", epoch) for epoch in range(6, 16)]
    assert [(row["phase"], row["epoch"]) for row in result.history] == expected[: len(result.history)]
    assert [row["loss"] < LEARNED for row in result.history] == [*[False] * (len(result.history) - 1), True]
    assert set(result.history[0]) == {"phase", "epoch", "learning_rate", "loss", "accuracy", "val_loss", "val_accuracy"}
    assert {"frozen", "finetune"} <= set(result.seconds)
    kept = result.history[result.epoch - 1]
    assert kept["phase"] == result.kept
    assert (kept["val_loss"], kept["val_accuracy"]) == pytest.approx(evaluate(model, validation), rel=1e-4)
    assert kept["val_accuracy"] == 1.0
    assert not get_backbone(model).trainable_weights


def test_phase_1_is_kept_when_phase_2_is_worse(tiny, colored):
    train, validation = colored(30), colored(15, seed=1)
    model = build(train)
    options = {
        "frozen_epochs": 3,
        "head_learning_rate": 0.05,
        "finetune_epochs": 2,
        "finetune_learning_rate": 5.0,
        "unfreeze": "all",
    }
    backbone = weights_of(get_backbone(model))
    result = train_two_phases(model, train, validation, TrainingOptions(**PLAIN, **options, optimizer="adam"))
    assert result.history[-1]["val_loss"] > 1 > result.history[2]["val_loss"]
    assert (result.kept, result.epoch) == ("frozen", 3)
    assert same(weights_of(get_backbone(model)), backbone)
    assert evaluate(model, validation)[0] == pytest.approx(result.history[2]["val_loss"], rel=1e-4)


@pytest.mark.parametrize(
    ("given", "kept", "epoch"),
    [((1, 3, 2, 0, 4, 2), "finetune", 5), ((3, 1, 2, 3, 0, 2), "frozen", 1)],
    ids=["phase 2 better", "phase 2 no better than the first epoch"],
)
def test_the_model_holds_the_weights_of_the_best_epoch(tiny, colored, monkeypatch, given, kept, epoch):
    scores(monkeypatch, *given)
    train, validation = colored(30), colored(15, seed=1)
    model = build(train)
    options = TrainingOptions(**PLAIN, frozen_epochs=3, finetune_epochs=3, unfreeze="all")
    result = train_two_phases(model, train, validation, options)
    assert (result.kept, result.epoch, len(result.history)) == (kept, epoch, 6)
    assert evaluate(model, validation)[0] == pytest.approx(result.history[epoch - 1]["val_loss"], rel=1e-4)


@pytest.mark.parametrize("monitor", ["val_loss", "val_accuracy"])
def test_the_epoch_that_is_restored_is_told_and_why(tiny, colored, monitor, caplog):
    train = colored(30)
    options = TrainingOptions(**PLAIN, frozen_epochs=2, finetune_epochs=2, finetune_learning_rate=5.0, monitor=monitor)
    with caplog.at_level("INFO", "tlkeras"):
        result = train_two_phases(build(train), train, train, options)
    rows = {row["epoch"]: row for row in result.history}
    assert (result.monitor, result.value) == (monitor, rows[result.epoch][monitor])
    lines = [line for line in caplog.messages if line.startswith("Restored ")]
    shown = f"({monitor} {result.value:#.3g})"
    assert lines[-1].startswith(f"Restored epoch {result.epoch} of 4 {shown}")
    assert lines[-1].endswith("as phase 2 did not beat phase 1.") == (result.kept == "frozen")
    assert re.fullmatch(rf"Restored epoch [12] of 2 \({monitor} \d\.\d+\)\.", lines[0])


def test_what_needs_classes_is_refused_for_numbers(tiny, colored):
    train = colored(30, lambda classes: classes[:, None])
    for options in ({"monitor": "val_accuracy"}, {"class_weights": "balanced"}, {"label_smoothing": 0.1}):
        with pytest.raises(UserError, match=r"regression"):
            train_two_phases(build(train, "regression"), train, train, TrainingOptions(**options))


def test_a_phase_stops_when_nothing_gets_better(tiny, colored, monkeypatch):
    scores(monkeypatch, 1, 0, 2, 2, 1, 3, 2, 2)  # the second phase starts with the 3
    model, train = build(colored(30)), colored(30)
    options = TrainingOptions(**PLAIN, frozen_epochs=9, finetune_epochs=9, patience=2)
    result = train_two_phases(model, train, train, options)
    assert [row["phase"] for row in result.history] == ["frozen"] * 5 + ["finetune"] * 3
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5, 10, 11, 12]


@pytest.mark.parametrize(
    "options", [{"finetune_epochs": 0}, {"unfreeze": "none"}, {"unfreeze": "0%", "views": 0}], ids=str
)
def test_phase_2_can_be_left_out(tiny, colored, options):
    model, train = build(colored(30)), colored(30)
    backbone = weights_of(get_backbone(model))
    result = train_two_phases(model, train, train, TrainingOptions(**PLAIN, **options, frozen_epochs=2))
    assert [row["phase"] for row in result.history] == ["frozen", "frozen"]
    assert result.kept == "frozen"
    assert same(weights_of(get_backbone(model)), backbone)


def test_each_phase_has_a_new_optimizer_with_its_own_learning_rate(tiny, colored, monkeypatch):
    made = []

    def make_optimizer(*arguments):
        made.append(real(*arguments))
        return made[-1]

    real = two_phase.make_optimizer
    monkeypatch.setattr(two_phase, "make_optimizer", make_optimizer)
    model, train = build(colored(30)), colored(30)
    options = {"frozen_epochs": 2, "finetune_epochs": 3, "head_learning_rate": 0.03, "finetune_learning_rate": 0.002}
    result = train_two_phases(model, train, train, TrainingOptions(**PLAIN, **options, schedule="constant", warmup=0.1))
    first, second = made
    assert first is not second
    assert (int(first.iterations), int(second.iterations)) == (6, 9)
    assert [row["learning_rate"] for row in result.history] == pytest.approx([0.03] * 2 + [0.002] * 3)


@pytest.mark.parametrize(
    ("options", "weights", "smoothing"),
    [({}, [1, 1, 1], 0), ({"class_weights": "balanced"}, [20 / 45, 20 / 12, 20 / 3], 0),
     ({"label_smoothing": 0.3}, [1, 1, 1], 0.3)],
    ids=["plain", "class weights", "label smoothing"],
)  # fmt: skip
def test_what_the_loss_counts(tiny, colored, options, weights, smoothing):
    """Of 20 images 15, 4 and 1 belong to the classes; the head starts with a bias, so their losses differ."""
    train = colored(20, lambda classes: np.eye(3)[[0] * 15 + [1] * 4 + [2]])
    model = build(train)
    model.get_layer("output").bias.assign([2.0, 1.0, 0.0])
    options = TrainingOptions(**PLAIN | options | {"batch_size": 20}, frozen_epochs=1, finetune_epochs=0)
    result = train_two_phases(model, train, train, options)
    log_probabilities = np.log(np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum())
    losses = -(train.targets * (1 - smoothing) + smoothing / 3) @ log_probabilities
    assert result.history[0]["loss"] == pytest.approx((losses * (train.targets @ weights)).mean(), rel=1e-4)


@pytest.fixture
def any_learning_rate(monkeypatch) -> None:
    """Allow learning rates beyond the range of the option, so that one step is enough."""
    monkeypatch.setattr(two_phase, "check_values", lambda options: None)


EXPLODE = {"optimizer": "sgd", "frozen_epochs": 1, "finetune_epochs": 1, "warmup": 0.0}


@pytest.mark.parametrize("steps", [1, 3], ids=["seen on validation only", "seen in training"])
def test_a_loss_that_is_not_finite_stops_phase_1_and_names_the_option(tiny, colored, steps, any_learning_rate):
    train = colored(30, lambda classes: classes[:, None])
    options = TrainingOptions(**PLAIN | {"batch_size": 30 // steps} | EXPLODE, head_learning_rate=1e30)
    message = r"Training failed: the .* loss became (nan|inf) in epoch 1\. Lower --head-learning-rate \(it was 1e\+30\)"
    with pytest.raises(UserError, match=message):
        train_two_phases(build(train, "regression"), train, train, options)


@pytest.mark.parametrize("steps", [1, 3], ids=["seen on validation only", "seen in training"])
def test_a_loss_that_is_not_finite_in_phase_2_leaves_phase_1s_model(tiny, colored, steps, any_learning_rate, caplog):
    train = colored(30, lambda classes: classes[:, None])
    options = TrainingOptions(**PLAIN | {"batch_size": 30 // steps} | EXPLODE, finetune_learning_rate=1e30)
    model = build(train, "regression")
    with caplog.at_level("WARNING", "tlkeras"):
        result = train_two_phases(model, train, train, options)
    assert "Lower --finetune-learning-rate (it was 1e+30). Phase 1's model is kept." in caplog.text
    assert result.kept == "frozen"
    errors = model.predict_on_batch(train.inputs) - train.targets
    assert np.mean(errors**2) == pytest.approx(result.history[0]["val_loss"], rel=1e-4)


def test_images_and_targets_must_fit_the_model(tiny, colored):
    train = colored(30)
    with pytest.raises(UserError, match=r"have 16 pixels a side and the model takes 32"):
        train_two_phases(build_classifier(tiny, 3, weights="none", image_size=32), train, train, TrainingOptions())
    with pytest.raises(UserError, match=r"have 3 columns and the model has 2 outputs"):
        train_two_phases(build_classifier(tiny, 2, weights="none", image_size=16), train, train, TrainingOptions())


@pytest.mark.parametrize("options", [{"optimizer": "rmsprop"}, {"batch_size": 0}, {"schedule": None}, {"warmup": "a"}])
def test_options_are_checked_before_anything_runs(tiny, colored, options):
    name = next(iter(options)).replace("_", "-")
    with pytest.raises(UserError, match=rf"--{name} was {next(iter(options.values()))}; it must be "):
        train_two_phases(build(colored(30)), colored(30), colored(30), TrainingOptions(**options))


def test_multi_label_training(tiny, colored):
    def labels(classes: np.ndarray) -> np.ndarray:
        """Return two labels: red and green are "warm", red is "red", blue is neither."""
        return np.stack([classes < 2, classes == 0], axis=1)

    train, validation = colored(30, labels), colored(15, labels, seed=1)
    model = build(train, "multi_label")
    options = TrainingOptions(**PLAIN, **ENOUGH)
    train_two_phases(model, train, validation, options)
    assert ((model.predict_on_batch(validation.inputs) > 0.5) == validation.targets).all()


def test_an_image_without_a_label_counts_where_labels_are_balanced(tiny, colored):
    """Of 20 images 3 have the first label, 1 the second, 16 none: the loss is computed here label by label."""
    train = colored(20, lambda classes: np.array([[1, 0]] * 3 + [[0, 1]] + [[0, 0]] * 16))
    model = build(train, "multi_label")
    model.get_layer("output").bias.assign([1.0, -0.5])
    options = TrainingOptions(
        **PLAIN | {"batch_size": 20}, frozen_epochs=1, finetune_epochs=0, class_weights="balanced"
    )
    result = train_two_phases(model, train, train, options)
    positive = 1 / (1 + np.exp(-np.array([1.0, -0.5])))
    losses = -np.where(train.targets == 1, np.log(positive), np.log(1 - positive))
    weights = np.where(train.targets == 1, [20 / 6, 20 / 2], [20 / 34, 20 / 38])
    assert result.history[0]["loss"] == pytest.approx((losses * weights).mean(), rel=1e-4)


def test_regression_in_the_unit_of_the_targets(tiny, colored):
    def labels(classes: np.ndarray) -> np.ndarray:
        return 1000.0 + 300.0 * classes[:, None]

    train, validation = colored(30, labels), colored(15, labels, seed=1)
    model = build(train, "regression", target_mean=1300.0, target_std=245.0)
    options = TrainingOptions(**PLAIN, **ENOUGH)
    result = train_two_phases(model, train, validation, options)
    kept = result.history[result.epoch - 1]
    error = np.abs(model.predict_on_batch(validation.inputs) - validation.targets).mean()
    assert kept["val_mae"] == pytest.approx(error, rel=1e-3)
    assert error < 30
    assert result.history[0]["loss"] < 3  # in units of the targets' variance, so that learning rates fit any unit


REPEAT = """
import numpy as np
from conftest import build_tiny, tiny_spec
from tlkeras.runtime import load_tensorflow

load_tensorflow(seed=5)
import keras
from tlkeras.backbones.table import BACKBONES
from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.models.builders import build_classifier
from tlkeras.training.two_phase import train_two_phases

BACKBONES["Tiny"], keras.applications.Tiny = tiny_spec(), build_tiny
images = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
data = SplitData(images, np.arange(40), np.eye(4, dtype="float32")[np.arange(40) % 4])
model = build_classifier("Tiny", 4, weights="none", hidden_units=[8], dropout=0.5)
options = TrainingOptions(frozen_epochs=2, finetune_epochs=2, unfreeze="all", seed=5, mixup=0.2)
print("HISTORY", train_two_phases(model, data, data, options).history)
"""


@pytest.mark.slow
def test_the_same_seed_gives_the_same_history_in_another_process():
    command, here = [sys.executable, "-c", REPEAT], Path(__file__).parents[1]
    both = [subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True, env=os.environ) for _ in range(2)]
    first, second = (
        [line for line in process.communicate()[0].splitlines() if line.startswith("HISTORY")] for process in both
    )
    assert len(first) == 1
    assert first == second


@pytest.mark.parametrize("kept", ["frozen", "finetune"])
@pytest.mark.parametrize("views", [1, 2])
def test_evaluation_uses_what_is_cached_and_gives_the_same(tiny, colored, monkeypatch, kept, views):
    train, validation = colored(40), colored(35, seed=1)
    model = build(train)
    if kept == "frozen":
        scores(monkeypatch, 5, 4, 3, 2)
    options = TrainingOptions(batch_size=10, linear_probe="never", frozen_epochs=2, finetune_epochs=2, views=views,
                              finetune_learning_rate=0.02, unfreeze="stage2", min_crop_area=0.5)  # fmt: skip
    result = train_two_phases(model, train, validation, options)
    assert result.kept == kept
    splits = {"train": train, "validation": validation, "test": colored(20, seed=2)}
    whole, passes = pooled_features(model, splits, options), []
    fill = ExtractionJob.fill
    monkeypatch.setattr(ExtractionJob, "fill", lambda *given: [passes.append(given[-1]), fill(*given)])
    monkeypatch.setattr(outputs, "make_engine", None)  # there is one already
    known = pooled_features(model, splits, options, result.inputs)
    for name in splits:
        assert known[name] == pytest.approx(whole[name], abs=1e-5)
    augmented = ["Evaluating train images"] if views == 1 else []  # the only view
    assert passes == [*augmented, "Evaluating test images"]
    lazy = pooled_features(model, splits, dataclasses.replace(options, memory_gb=1e-9), result.inputs)
    assert all(isinstance(of_split, LazyFeatures) for of_split in lazy.values())
    for name, found in head_outputs(model, lazy).items():
        assert found == pytest.approx(head_outputs(model, known)[name], abs=1e-5)


@pytest.mark.parametrize("views", [0, 2])
def test_rare_classes_come_as_often_as_others(tiny, colored, monkeypatch, views):
    train, validation = colored(30), colored(15, seed=1)
    rows = np.flatnonzero(np.arange(30) % 3 < 2 + (np.arange(30) < 6))  # of the last class two are left
    train = dataclasses.replace(train, rows=rows, targets=train.targets[rows])
    seen = []
    real = two_phase.fit

    def note(phase, inputs, first_epoch, callbacks):
        batches = list(inputs.training(first_epoch=0, last_epoch=1))
        seen.append(sum(targets.numpy().sum(axis=0) for _, targets in batches).tolist())
        assert len(batches) == inputs.steps
        real(phase, inputs, first_epoch, callbacks)

    monkeypatch.setattr(two_phase, "fit", note)
    options = TrainingOptions(**PLAIN | {"flip": "horizontal"}, frozen_epochs=1, finetune_epochs=1, unfreeze="stage2",
                              views=views, class_weights="oversample")  # fmt: skip
    train_two_phases(build(train), train, validation, options)
    assert seen == [[10, 10, 10]] * 2
