"""Learning rates over the steps of a phase, and of the stages of a backbone."""

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainingOptions
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import set_trainable
from tlkeras.training.optimizers import lr_scales, make_optimizer, make_schedule


@pytest.fixture
def model(tiny) -> keras.Model:
    """Return a model of which all is trainable, and no weight is zero."""
    model = build_classifier("Tiny", 3, weights="none")
    set_trainable(model, "all")
    for weight in model.trainable_weights:
        weight.assign(np.full(weight.shape, 0.5))
    return model


def rates(steps: int, **options) -> np.ndarray:
    schedule = make_schedule(0.1, steps, **options)
    return np.array([float(schedule(step)) for step in range(steps + 1)])


def moved(model: keras.Model, gradient: float, rate: float = 0.01, **options) -> dict[str, float]:
    """Return how far one step with this gradient everywhere moves each weight; it must be the same in all of it."""
    settings = {"layer_decay": 1.0, "weight_decay": 0.0} | options
    optimizer = make_optimizer(model, TrainingOptions(**settings), rate)
    before = {weight.path: np.array(weight) for weight in model.trainable_weights}
    optimizer.apply(
        [keras.ops.full(weight.shape, gradient) for weight in model.trainable_weights], model.trainable_weights
    )
    steps = {weight.path: before[weight.path] - np.array(weight) for weight in model.trainable_weights}
    assert all(np.ptp(step) < 1e-6 for step in steps.values())
    return {path: float(step.mean()) for path, step in steps.items()}


def test_the_learning_rate_rises_from_zero_and_falls_along_a_cosine():
    rate = rates(100, warmup=0.2)
    assert rate[:21] == pytest.approx(np.linspace(0, 0.1, 21))
    assert rate[20:] == pytest.approx(0.05 * (1 + np.cos(np.linspace(0, np.pi, 81))), abs=1e-7)
    assert rate[-1] == pytest.approx(0, abs=1e-8)


def test_the_learning_rate_can_stay_constant_after_the_warmup():
    rate = rates(10, warmup=0.5, constant=True)
    assert rate[:6] == pytest.approx(np.linspace(0, 0.1, 6))
    assert rate[5:] == pytest.approx(np.full(6, 0.1))


@pytest.mark.parametrize(("steps", "warmup"), [(5, 0.0), (1, 0.9)])
def test_without_warmup_steps_the_first_step_has_the_maximum(steps, warmup):
    assert rates(steps, warmup=warmup)[0] == pytest.approx(0.1)


def test_earlier_stages_have_lower_learning_rates(model):
    assert lr_scales(model, 0.5) == {
        "conv1/kernel": 0.25, "conv1/bias": 0.25,
        "conv2/kernel": 0.5, "conv2/bias": 0.5,
        "conv3/kernel": 1.0, "conv3/bias": 1.0,
    }  # fmt: skip
    set_trainable(model, "stage3")
    assert set(lr_scales(model, 0.5)) == {"conv3/kernel", "conv3/bias"}


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_earlier_stages_move_less(model, optimizer):
    step = moved(model, gradient=2.0, optimizer=optimizer, layer_decay=0.5)
    whole = step["output/kernel"]
    # Nesterov momentum 0.9 makes the first step 1.9 times the gradient; Adam's first step is the learning rate itself.
    assert whole == pytest.approx(0.01 * 2.0 * 1.9 if optimizer == "sgd" else 0.01, rel=1e-3)
    assert step["conv3/kernel"] == pytest.approx(whole, rel=1e-3)
    assert step["conv2/bias"] == pytest.approx(whole / 2, rel=1e-3)
    assert step["conv1/kernel"] == pytest.approx(whole / 4, rel=1e-3)


@pytest.mark.parametrize(("optimizer", "decays"), [("sgd", True), ("adamw", True), ("adam", False)])
def test_weight_decay_shrinks_kernels_only(model, optimizer, decays):
    step = moved(model, gradient=0.0, optimizer=optimizer, layer_decay=0.5, weight_decay=0.1)
    shrunk = 0.01 * 0.1 * 0.5 * decays
    assert step["output/kernel"] == pytest.approx(shrunk, abs=1e-6)
    assert step["conv1/kernel"] == pytest.approx(shrunk / 4, abs=1e-6)
    assert {step[path] for path in step if path.endswith("bias")} == {0.0}


def test_float16_scales_its_loss(tiny):
    model = build_classifier("Tiny", 3, weights="none", precision="mixed_float16")
    options = TrainingOptions(layer_decay=1.0)
    assert isinstance(make_optimizer(model, options, 0.1), keras.optimizers.LossScaleOptimizer)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains(tiny, colored, precision):
    data = colored(12)
    model = build_classifier("Tiny", 3, weights="none", precision=precision, dropout=0.0)
    set_trainable(model, "all")
    optimizer = make_optimizer(model, TrainingOptions(layer_decay=1.0), 0.01)
    model.compile(optimizer, "categorical_crossentropy", jit_compile=False)
    losses = [model.train_on_batch(data.inputs, data.targets) for _ in range(30)]
    assert losses[-1] < 0.8 * losses[0]
