"""What is exported resizes as Keras does, and nothing in it is random."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.export.inference import InferenceModel, freeze, in_float32, resize_to_square
from tlkeras.models.backbone import resized_input
from tlkeras.models.builders import build_classifier

NAMES = ["probabilities", "features"]


@pytest.fixture
def model(tiny, noise):
    return with_random_output(build_classifier(tiny, 3, weights="none", image_size=16, dropout=0.5))


def with_random_output(model):
    output = model.get_layer("output")
    output.set_weights([np.random.default_rng(0).normal(size=weight.shape) for weight in output.get_weights()])
    return model


WAYS = ["crop", "pad", "squash"]


@pytest.mark.parametrize("size", [(16, 16), (40, 23), (23, 40), (9, 50), (1, 1), (17, 16), (130, 97), (200, 201)])
@pytest.mark.parametrize("way", WAYS)
def test_two_matrix_products_are_the_resize_of_keras(noise, size, way):
    resize, images = keras.Model(*resized_input(16, way)), noise(2, *size)
    expected = resize(images.astype("float32"), training=False)
    np.testing.assert_allclose(resize_to_square(images, 16, way), expected, atol=2e-3)


@pytest.mark.parametrize("way", WAYS)
def test_images_of_any_size_get_the_outputs_of_the_trained_model(way, tiny, noise):
    model = with_random_output(build_classifier(tiny, 3, weights="none", image_size=16, dropout=0.5, resize=way))
    inference = InferenceModel(model, (16, 16, 3), "uint8", NAMES)
    call = freeze(inference, inference.raw)
    for size in ((16, 16), (40, 23), (64, 80)):
        found = call(noise(3, *size))
        np.testing.assert_allclose(found["probabilities"], model.predict_on_batch(noise(3, *size)), atol=1e-5)
        assert found["features"].shape == (3, 8)


def test_a_frozen_graph_holds_its_weights_and_nothing_random(model):
    inference = InferenceModel(model, (16, 16, 3), "uint8", NAMES)
    concrete = freeze(inference, inference.raw).get_concrete_function()
    assert not concrete.captured_inputs
    functions = concrete.graph.as_graph_def().library.function
    operators = {node.op for function in functions for node in function.node_def}
    assert "Conv2D" in operators and not any("Random" in name or "Variable" in name for name in operators)


def test_decoded_examples_of_other_data_are_taken_as_they_are():
    inputs = keras.Input((4,), name="audio")
    pooled = keras.layers.Identity(name="pool")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax", name="output")(pooled))
    inference = InferenceModel(model, (4,), "float32", NAMES)
    rows = np.arange(8, dtype="float32").reshape(2, 4)
    np.testing.assert_allclose(inference(tf.constant(rows))["probabilities"], model.predict_on_batch(rows), atol=1e-6)
    assert inference.raw.shape == (None, 4)


def test_a_model_of_mixed_precision_computes_in_float32(tiny, noise):
    mixed = build_classifier(tiny, 3, weights="none", image_size=16, precision="mixed_bfloat16")
    plain = in_float32(mixed)
    assert {layer.compute_dtype for layer in plain.layers if layer.weights} == {"float32"}
    for weight, other in zip(plain.get_weights(), mixed.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)
    assert in_float32(plain) is plain
