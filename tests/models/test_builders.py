"""The options of the head, and what the builders promise for any backbone."""

import re

import keras
import numpy as np
import pytest
from keras.applications import imagenet_utils

from tlkeras.errors import UserError
from tlkeras.models.backbone import preprocess_input
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone


def build(num_outputs: int = 3, **options) -> keras.Model:
    return build_classifier("Tiny", num_outputs, weights="none", **options)


def outputs(model: keras.Model, images: np.ndarray, training: bool = False) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images, training=training))


def give_head_random_weights(model: keras.Model) -> None:
    rng = np.random.default_rng(1)
    layer = model.get_layer("output")
    layer.set_weights([rng.normal(size=weight.shape) for weight in layer.weights])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "mean"}, "--pooling was mean; it must be one of avg, max, both"),
        ({"image_size": 0}, "--image-size was 0; it must be a whole number from 1 to 4096"),
        ({"task": "multi-label"}, "The task was multi-label; it must be one of single_label, multi_label, regression"),
        ({"weights": None}, 'Weights were "None"; give imagenet, bundled, none, or a file'),
        ({"hidden_units": [0]}, "--hidden-units was"),
        ({"dropout": 1.0}, "--dropout was 1.0"),
        ({"precision": "float64"}, "--precision was float64"),
    ],
)
def test_wrong_values_are_refused(tiny, options, message):
    with pytest.raises(UserError, match=re.escape(message)):
        build_classifier(tiny, 3, **{"weights": "none"} | options)


@pytest.mark.parametrize(
    ("options", "start"),
    [({}, 1 / 3), ({"task": "multi_label"}, 0.5), ({"task": "regression", "target_mean": 7.0}, 7.0)],
    ids=["single_label", "multi_label", "regression"],
)
def test_a_new_model_gives_equal_outputs(tiny, noise, options, start):
    assert outputs(build(**options), noise(2, 16)) == pytest.approx(np.full((2, 3), start))


def test_multi_label_probabilities_are_independent(tiny, noise):
    model = build(task="multi_label")
    give_head_random_weights(model)
    probabilities = outputs(model, noise(4, 16))
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert np.abs(probabilities.sum(axis=1) - 1).max() > 0.01


def test_regression_outputs_have_the_unit_of_the_targets(tiny, noise):
    plain, scaled = (build(1, task="regression", **unit) for unit in ({}, {"target_mean": 50, "target_std": 9}))
    give_head_random_weights(plain)
    scaled.set_weights(plain.get_weights())
    assert outputs(scaled, noise(4, 16)) == pytest.approx(50 + 9 * outputs(plain, noise(4, 16)), rel=1e-5)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("avg", lambda x: x.mean(axis=(1, 2))),
        ("max", lambda x: x.max(axis=(1, 2))),
        ("both", lambda x: np.concatenate([x.mean(axis=(1, 2)), x.max(axis=(1, 2))], axis=1)),
    ],
)
def test_pooling(tiny, noise, pooling, expected):
    model = build(pooling=pooling)
    features = outputs(get_backbone(model), noise(2, 16) / np.float32(127.5) - 1)
    vector = outputs(keras.Model(model.input, model.get_layer("pool").output), noise(2, 16))
    assert features.shape == (2, 2, 2, 8)
    assert vector == pytest.approx(expected(features), abs=1e-5)


def test_hidden_layers_have_dropout_before_each(tiny):
    model = build(hidden_units=[7, 5], dropout=0.4)
    names = [layer.name for layer in model.layers]
    assert names[names.index("pool") + 1 :] == ["dropout_1", "hidden_1", "dropout_2", "hidden_2", "dropout", "output"]
    assert [model.get_layer(name).units for name in ("hidden_1", "hidden_2", "output")] == [7, 5, 3]
    assert {layer.rate for layer in model.layers if isinstance(layer, keras.layers.Dropout)} == {0.4}


def test_dropout_is_active_in_training_in_the_head_only(tiny, noise):
    for rate, random in ((0.5, True), (0.0, False)):  # Tiny has a dropout layer of its own, of rate 0.5
        model = build(dropout=rate)
        give_head_random_weights(model)
        same = np.array_equal(outputs(model, noise(4, 16), training=True), outputs(model, noise(4, 16)))
        assert same is not random


def test_l2_penalizes_the_kernels_of_the_head(tiny):
    model = build(hidden_units=[4], l2=0.01)
    kernels = [model.get_layer(name).kernel for name in ("hidden_1", "output")]
    expected = 0.01 * sum(float(keras.ops.sum(kernel**2)) for kernel in kernels)
    assert float(sum(model.losses)) == pytest.approx(expected)
    assert expected > 0
    assert build().losses == []


def test_only_the_center_square_is_seen(tiny, noise):
    model = build()
    give_head_random_weights(model)
    square, wide = noise(2, 16), noise(2, 16, 40)
    wide[:, :, 12:28] = square
    assert outputs(model, wide) == pytest.approx(outputs(model, square), abs=1e-6)
    assert outputs(model, square.astype("float32")) == pytest.approx(outputs(model, square), abs=1e-6)


def test_image_size(tiny):
    assert get_backbone(build()).input_shape == (None, 16, 16, 3)
    assert get_backbone(build(image_size=8)).input_shape == (None, 8, 8, 3)
    with pytest.raises(UserError, match=r"--image-size was 7; Tiny needs at least 8 pixels\."):
        build(image_size=7)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_keeps_scaling_and_output_in_float32(tiny, noise, tmp_path, precision):
    model = build(precision=precision, hidden_units=[4], pooling="both")
    give_head_random_weights(model)
    types = {layer.name: layer.compute_dtype for layer in model.layers + get_backbone(model).layers}
    half = precision.removeprefix("mixed_")
    assert {types[name] for name in ("conv1", "bn1", "average", "hidden_1")} == {half}
    assert {types[name] for name in ("resize", "scale", "output")} == {"float32"}
    assert model.output.dtype == "float32"
    assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert outputs(loaded, noise(4, 16)) == pytest.approx(outputs(model, noise(4, 16)), abs=1e-6)


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_pixels_are_scaled_as_keras_applications_scales_them(noise, mode):
    images = noise(2, 16)
    expected = imagenet_utils.preprocess_input(images.astype("float32"), mode=mode)
    inputs = keras.Input((16, 16, 3))
    scaled = outputs(keras.Model(inputs, preprocess_input(inputs, mode)), images)
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_calibration_gives_every_batch_norm_layer_the_statistics_of_the_images(tiny, noise):
    model, images = build(), noise(32, 16)  # one batch: the layers below normalize by its statistics
    backbone = get_backbone(model)
    before = {weight.path: np.array(weight) for weight in backbone.weights}
    calibrate_batch_norm(model, images)
    layers = [backbone.get_layer(f"bn{stage}") for stage in (1, 2, 3)]
    scaled = images.astype("float32") / 127.5 - 1
    for normalized in keras.Model(backbone.input, [layer.output for layer in layers])(scaled):
        assert np.mean(normalized, axis=(0, 1, 2)) == pytest.approx(0, abs=1e-3)
        assert np.std(normalized, axis=(0, 1, 2)) == pytest.approx(1, abs=0.05)  # epsilon keeps it just below
    assert {layer.momentum for layer in layers} == {0.99}
    assert not any(layer.trainable for layer in backbone.layers)
    assert not backbone.trainable_weights
    kept = [weight for weight in backbone.weights if "moving" not in weight.path]
    assert all(np.array_equal(before[weight.path], weight) for weight in kept)
