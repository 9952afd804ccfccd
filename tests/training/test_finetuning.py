"""Gradual unfreezing, L2-SP and LoRA in a training of two phases."""

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainConfig, TrainingOptions
from tlkeras.errors import UserError
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import set_trainable
from tlkeras.models.introspect import get_backbone
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import TrainingResult, train_two_phases

# 30 images make 3 steps an epoch.
OPTIONS = {
    "batch_size": 10, "frozen_epochs": 2, "finetune_epochs": 4, "unfreeze": "stage2", "linear_probe": "never",
    "head_learning_rate": 0.03, "finetune_learning_rate": 0.01, "layer_decay": 1.0, "patience": 20,
}  # fmt: skip
WAYS = {"gradual": {"gradual_unfreezing": True}, "l2_sp": {"l2_sp": 0.5}, "lora": {"lora_rank": 2}}


class Kernels(keras.callbacks.Callback):
    """Keep the kernel of each stage after each epoch of phase 2."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        self._whole, self.kept = model, {"conv1": [], "conv2": [], "conv3": []}

    def on_epoch_end(self, epoch, logs=None) -> None:
        for name, kept in self.kept.items():
            kept.append(np.array(get_backbone(self._whole).get_layer(name).kernel))


def build(data) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = build_classifier("Tiny", 3, weights="none", dropout=0.3)
    calibrate_batch_norm(model, data.inputs)
    return model


def train(colored, checkpoints=None, model=None, **options) -> tuple[keras.Model, TrainingResult]:
    data = colored(30)
    model = model or build(data)
    return model, train_two_phases(model, data, colored(15, seed=1), TrainingOptions(**OPTIONS), checkpoints, **options)


@pytest.mark.parametrize("views", [2, pytest.param(0, marks=pytest.mark.slow)], ids=["cached", "whole network"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("last", [1, 4])
def test_a_stopped_training_ends_the_same(tiny, colored, stopping, tmp_path, way, last, views):
    options = WAYS[way] | {"views": views}
    whole, expected = train(colored, **options)
    with pytest.raises(KeyboardInterrupt):
        train(colored, stopping(tmp_path, last), **options)
    resumed, result = train(colored, Checkpoints(tmp_path), **options)
    assert (result.history, result.kept, result.best) == (expected.history, expected.kept, expected.best)
    assert expected.kept == "finetune"
    assert all(np.array_equal(one, two) for one, two in zip(whole.weights, resumed.weights, strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_gradual_unfreezing_starts_with_the_top_stage(tiny, colored, optimizer):
    """Of two stages the lower one follows after a quarter of the 12 steps, which is after the first of four epochs."""
    model = build(colored(30))
    kernels = Kernels(model)
    start = {name: np.array(get_backbone(model).get_layer(name).kernel) for name in kernels.kept}
    train(colored, model=model, callbacks=[kernels], gradual_unfreezing=True, optimizer=optimizer)
    moved = {
        name: [not np.array_equal(one, start[name]) for one in kept[OPTIONS["frozen_epochs"] :]]
        for name, kept in kernels.kept.items()
    }
    assert moved == {"conv1": [False] * 4, "conv2": [False, True, True, True], "conv3": [True] * 4}


def test_l2_sp_keeps_unfrozen_weights_near_the_pretrained_ones(tiny, colored):
    def distance(**options) -> float:
        model = build(colored(30))
        before = [np.array(weight) for weight in get_backbone(model).weights]
        train(colored, model=model, optimizer="sgd", **options)
        pairs = zip(get_backbone(model).weights, before, strict=True)
        return float(np.sqrt(sum(((np.array(weight) - was) ** 2).sum() for weight, was in pairs)))

    free, near = distance(), distance(l2_sp=10.0)
    assert 0 < near < 0.7 * free


def test_the_gradient_of_l2_sp_is_that_of_its_penalty(tiny):
    from tlkeras.training.optimizers import make_optimizer

    model = build_classifier("Tiny", 3, weights="none")
    set_trainable(model, "all")
    options = TrainingOptions(optimizer="sgd", l2_sp=0.2, weight_decay=0.0, layer_decay=1.0)
    optimizer, weight = make_optimizer(model, options, 0.1), get_backbone(model).get_layer("conv2").kernel
    start = np.array(weight)
    weight.assign(start + 0.5)
    optimizer.build(model.trainable_weights)
    optimizer.apply([keras.ops.zeros(one.shape) for one in model.trainable_weights], model.trainable_weights)
    # Nesterov momentum 0.9 makes the first step 1.9 times the gradient.
    assert np.array(weight) - start == pytest.approx(0.5 - 0.1 * 1.9 * 0.2 * 0.5)


def test_lora_leaves_a_plain_model_whose_kernels_changed_by_a_low_rank(tiny, colored, caplog):
    model = build(colored(30))
    paths = [weight.path for weight in model.weights]
    before = {weight.path: np.array(weight) for weight in get_backbone(model).weights}
    with caplog.at_level("INFO", "tlkeras"):
        _, result = train(colored, model=model, lora_rank=2)
    assert result.kept == "finetune"
    assert [weight.path for weight in model.weights] == paths
    changed = {weight.path: np.array(weight) - before[weight.path] for weight in get_backbone(model).weights}
    assert {path for path, change in changed.items() if change.any()} == {"conv2/kernel", "conv3/kernel"}
    assert np.linalg.matrix_rank(changed["conv3/kernel"].reshape(-1, 8), tol=1e-6) == 2
    # 27 to the 6 or 8 filters of two layers by rank 2, and the head.
    trained = (54 + 6) * 2 + (54 + 8) * 2 + 27
    assert f"Phase 2, stage2 unfrozen: {trained} of" in caplog.text
    outputs = model.predict(colored(15, seed=1).inputs, verbose=0)
    best = result.history[result.epoch - 1]["val_loss"]
    assert -np.log((outputs * colored(15, seed=1).targets).sum(axis=1)).mean() == pytest.approx(best, rel=1e-4)


def test_a_lora_that_makes_it_worse_leaves_the_pretrained_weights(tiny, colored):
    model = build(colored(30))
    before = [np.array(weight) for weight in get_backbone(model).weights]
    _, result = train(colored, model=model, lora_rank=2, finetune_learning_rate=5.0, head_learning_rate=0.05)
    assert result.kept == "frozen"
    assert all(np.array_equal(one, two) for one, two in zip(before, get_backbone(model).weights, strict=True))


# [part: learning-rate]
@pytest.mark.parametrize("way", WAYS)
def test_learning_rates_are_found_with_it_and_the_model_is_left_as_it_was(tiny, colored, way):
    from tlkeras.training.learning_rate import find_learning_rates

    data = colored(30)
    model = build(data)
    before = [np.array(weight) for weight in model.weights]
    tests = find_learning_rates(model, data, colored(15, seed=1), TrainingOptions(**OPTIONS), **WAYS[way])
    assert set(tests) == {"frozen", "finetune"}
    assert all(np.array_equal(one, two) for one, two in zip(before, model.weights, strict=True))


# [/part]
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lora_rank": 4, "finetune_epochs": 0}, r"--lora-rank is for phase 2, and there is none"),
        ({"l2_sp": 0.1, "unfreeze": "none"}, r"--l2-sp is for phase 2, and there is none"),
        ({"gradual_unfreezing": True, "weights": "none"}, r"--gradual-unfreezing spares .* --weights was none"),
        ({"l2_sp": 0.1, "lora_rank": 4}, r"with --lora-rank these stay as they are; give one of them"),
    ],
)
def test_what_has_no_effect_is_refused_before_anything_is_read(options, message):
    with pytest.raises(UserError, match=message):
        TrainConfig(data="not there", **options).check()


def test_a_single_stage_cannot_be_unfrozen_gradually(tiny, colored):
    with pytest.raises(UserError, match=r"--unfreeze stage3 is a single one\. Give a stage further from the output"):
        train(colored, gradual_unfreezing=True, unfreeze="stage3")
