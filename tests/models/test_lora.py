"""Changes of low rank beside frozen kernels: what is trained, and that nothing of them is left in the model."""

import keras
import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import set_trainable
from tlkeras.models.introspect import get_backbone
from tlkeras.models.lora import add_lora, lora_layers, merge_lora


def layers_of_each_kind() -> keras.Model:
    """Return a backbone of the layers that Keras can change, with groups too, and of those that it cannot."""
    inputs = x = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, strides=4, name="conv")(keras.layers.Rescaling(1 / 255)(x))
    x = keras.layers.Conv2D(8, 3, groups=2, padding="same", name="groups")(x)
    x = keras.layers.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = keras.layers.SeparableConv2D(8, 3, padding="same", name="separable")(x)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.EinsumDense("bhwc,cd->bhwd", (None, None, 8), name="einsum")(x)
    return keras.Model(inputs, keras.layers.Dense(8, name="dense")(x), name="mine")


def build(backbone: keras.Model | str = "Tiny", **options) -> keras.Model:
    """Return a model of which all is unfrozen; its head is not zero, or nothing before it would matter."""
    model = build_classifier(backbone, 3, weights="none" if backbone == "Tiny" else "imagenet", **options)
    model.get_layer("output").kernel.assign(np.random.default_rng(0).normal(size=(8, 3)))
    set_trainable(model, "all")
    return model


def change(model: keras.Model) -> None:
    """Let the changes be some, as training would."""
    rng = np.random.default_rng(1)
    for layer in lora_layers(model):
        layer.lora_kernel_b.assign(0.5 * rng.normal(size=layer.lora_kernel_b.shape))


def test_a_change_is_nothing_at_first_and_the_kernels_are_frozen(noise):
    model = build(layers_of_each_kind())
    before = model(noise(4, 16), training=False)
    add_lora(model, 2, seed=0)
    assert np.array_equal(before, model(noise(4, 16), training=False))
    trained = {weight.path for weight in get_backbone(model).trainable_weights}
    kinds = ("conv", "groups", "einsum", "dense")
    assert trained == {f"{kind}/lora_kernel_{letter}" for kind in kinds for letter in "ab"}
    assert get_backbone(model).get_layer("conv").lora_kernel_a.shape == (3, 3, 3, 2)


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_the_merged_model_is_a_plain_one_with_equal_outputs(noise, tmp_path, tiny, precision):
    model = build(layers_of_each_kind() if precision == "float32" else "Tiny", precision=precision)
    paths, original = [weight.path for weight in model.weights], np.array(model(noise(4, 16), training=False))
    add_lora(model, 2, seed=0)
    change(model)
    expected = np.array(model(noise(4, 16), training=False))
    merge_lora(model)
    merged = np.array(model(noise(4, 16), training=False))
    assert np.abs(expected - original).max() > 0.01
    assert merged == pytest.approx(expected, abs=1e-6 if precision == "float32" else 1e-3)
    assert [weight.path for weight in model.weights] == paths
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(merged, loaded(noise(4, 16), training=False))
    assert "lora_rank" not in str(loaded.get_config())


def test_the_same_seed_gives_the_same_start(tiny):
    def starts(seed: int) -> list[np.ndarray]:
        model = build()
        add_lora(model, 2, seed)
        return [np.array(layer.lora_kernel_a) for layer in lora_layers(model)]

    first, again, other = starts(0), starts(0), starts(1)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_set_trainable_ends_it(tiny):
    model = build()
    add_lora(model, 2, seed=0)
    set_trainable(model, "stage3")
    assert [weight.path for weight in get_backbone(model).trainable_weights] == ["conv3/kernel", "conv3/bias"]
    add_lora(model, 2, seed=0)  # Keras refuses a second time where the first is still on


def test_layers_without_it_are_refused():
    inputs = keras.Input((16, 16, 3))
    model = build(keras.Model(inputs, keras.layers.SeparableConv2D(8, 3)(inputs), name="mine"))
    with pytest.raises(UserError, match=r"--lora-rank was 2; mine has no dense or convolutional layers of Keras"):
        add_lora(model, 2, seed=0)
