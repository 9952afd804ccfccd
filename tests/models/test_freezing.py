"""What `--unfreeze` means, and that frozen weights stay as they are."""

import keras
import numpy as np
import pytest

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.unfreeze import parse_unfreeze
from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import FrozenWeights, first_trainable_index, set_trainable
from tlkeras.models.introspect import get_backbone


@pytest.fixture
def model(tiny) -> keras.Model:
    """Return a model whose backbone is an input, three times convolution, BatchNormalization and ReLU, dropout."""
    model = build_classifier("Tiny", 3, weights="none")
    model.get_layer("output").kernel.assign(np.random.default_rng(0).normal(size=(8, 3)))
    return model


def trainable_layers(model: keras.Model) -> list[str]:
    return [layer.name for layer in get_backbone(model).layers if layer.trainable_weights]


def fit(model: keras.Model, images: np.ndarray) -> list[str]:
    """Return the names of the backbone's weights that one step of `fit` moves."""
    weights = get_backbone(model).weights
    before = [np.array(weight) for weight in weights]
    model.fit(images, np.eye(3)[np.arange(len(images)) % 3], batch_size=len(images), verbose=0)
    return [weight.path for weight, was in zip(weights, before, strict=True) if not np.array_equal(weight, was)]


def change_one_bit(weight: keras.Variable) -> None:
    value = np.array(weight)
    value.view("uint32").flat[0] ^= 1
    weight.assign(value)


@pytest.mark.parametrize(
    ("unfreeze", "first"),
    [
        ("stage1", 1), ("stage2", 4), ("Stage-3", 7), ("all", 0), ("None", 11), ("none", 11),
        (3, 8), ("3", 8), (0, 11), (11, 0), (0.3, 8), ("0.3", 8), ("30%", 8), (" 30% ", 8), ("0%", 11), ("100%", 0),
    ],
)  # fmt: skip
def test_first_trainable_index(model, unfreeze, first):
    assert first_trainable_index(model, unfreeze) == first


@pytest.mark.parametrize(
    ("unfreeze", "message"),
    [
        ("stage9", r'no stage of Tiny called "stage9"\. Did you mean stage[123].*stage1, stage2, stage3\.'),
        ("120%", r"--unfreeze was 120%; a fraction must be from 0% to 100%\."),
        (-2, r"--unfreeze was -2; a number of layers must be a whole number from 0\."),
        (2.5, r"--unfreeze was 2\.5; a number of layers must be a whole number from 0\."),
        ("nan", r"--unfreeze was nan; a number of layers must be a whole number from 0\."),
        ("inf", r"--unfreeze was inf; a number of layers must be a whole number from 0\."),
        (12, r"--unfreeze was 12; Tiny has 11 layers, so give 0 to 11\."),
    ],
)
def test_anything_else_is_refused(model, unfreeze, message):
    with pytest.raises(UserError, match=message):
        set_trainable(model, unfreeze)


def test_a_stage_is_parsed_without_a_model():
    assert parse_unfreeze(get_backbone_spec("ResNet50"), "CONV5").first_layer == "conv5_block1_1_conv"


def test_each_call_starts_over(model):
    for unfreeze, expected in (
        ("none", []),
        ("stage2", ["conv2", "conv3"]),
        ("all", ["conv1", "conv2", "conv3"]),
        (4, ["conv3"]),
        ("none", []),
    ):
        count = set_trainable(model, unfreeze)
        assert trainable_layers(model) == expected
        percent = 100 * count.trainable / model.count_params()
        assert (
            str(count) == f"{count.trainable:,} of {model.count_params():,} parameters are trainable ({percent:.1f}%)"
        )
    assert count.trainable == 8 * 3 + 3


def test_a_compiled_model_is_compiled_again(model, noise):
    model.compile("sgd", "categorical_crossentropy", jit_compile=False)
    assert fit(model, noise(6, 16)) == []
    set_trainable(model, "stage2")
    assert set(fit(model, noise(6, 16))) == {"conv2/kernel", "conv2/bias", "conv3/kernel", "conv3/bias"}
    set_trainable(model, "none")
    assert fit(model, noise(6, 16)) == []


def test_batch_norm_does_not_move_under_plain_fit_nor_after_reload(model, noise, tmp_path):
    set_trainable(model, "all")
    model.save(tmp_path / "model.keras")
    for trained in (model, keras.models.load_model(tmp_path / "model.keras")):
        trained.compile("sgd", "categorical_crossentropy", jit_compile=False)
        moved = fit(trained, noise(6, 16))
        assert {path.partition("/")[0] for path in moved} == {"conv1", "conv2", "conv3"}


@pytest.mark.parametrize(
    "path", ["conv1/kernel", "conv2/bias", "bn1/moving_mean", "bn3/moving_variance", "bn3/gamma", "bn3/beta"]
)
def test_one_changed_bit_of_a_frozen_weight_stops_the_run(model, path):
    set_trainable(model, "stage3")
    frozen = FrozenWeights(model)
    frozen.check()
    change_one_bit(next(weight for weight in get_backbone(model).weights if weight.path == path))
    with pytest.raises(RuntimeError, match=f"1 frozen weights of the backbone changed.*first {path}"):
        frozen.check()


def test_trainable_weights_may_move(model):
    set_trainable(model, "stage2")
    frozen = FrozenWeights(model)
    for weight in model.trainable_weights:
        change_one_bit(weight)
    frozen.check()


def test_a_model_without_a_backbone_is_refused():
    with pytest.raises(UserError, match="has no backbone inside"):
        set_trainable(keras.Sequential([keras.layers.Dense(1)]), "all")
