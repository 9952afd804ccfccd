"""Grouped convolutions run as TensorFlow's own, with the results of Keras'."""

import keras
import numpy as np
import tensorflow as tf

from tlkeras.models.inlining import inline_convolutions
from tlkeras.models.introspect import with_features

IMAGES = np.random.default_rng(0).normal(size=(8, 12, 12, 6)).astype("float32")
TARGETS = np.eye(2, dtype="float32")[[0, 1] * 4]


def build() -> keras.Model:
    """Return a model with a grouped convolution inside a nested model, always with the same weights."""
    keras.utils.set_random_seed(1)
    nested = keras.Sequential([keras.Input((12, 12, 6)), keras.layers.Conv2D(12, 3, groups=6, padding="same")])
    inputs = keras.Input((12, 12, 6))
    x = keras.layers.GlobalAveragePooling2D(name="pool")(nested(inputs))
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))


def compiled_by_xla(model: keras.Model) -> list[bool]:
    """Return whether XLA compiles a function of a training step, of a test step, and of a prediction."""
    model.compile("sgd", keras.losses.MeanSquaredError(), jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    data = (IMAGES, np.zeros((8, model.output_shape[-1]), "float32"))
    steps = (model.train_step, data), (model.test_step, data), (model.predict_step, data[:1])
    graphs = [tf.function(step).get_concrete_function(given).graph.as_graph_def() for step, given in steps]
    return [any(function.attr["_XlaMustCompile"].b for function in graph.library.function) for graph in graphs]


def test_xla_has_nothing_to_compile():
    assert all(compiled_by_xla(build()))
    assert not any(compiled_by_xla(inline_convolutions(build())))
    assert not compiled_by_xla(with_features(build()))[2]


def test_training_is_that_of_keras():
    plain, inlined = build(), inline_convolutions(build())
    losses = []
    for model in (plain, inlined):
        model.compile("adam", "categorical_crossentropy", jit_compile=False)
        history = model.fit(
            IMAGES, TARGETS, batch_size=4, epochs=3, shuffle=False, validation_data=(IMAGES, TARGETS), verbose=0
        )
        losses.append(history.history["loss"] + history.history["val_loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)
    np.testing.assert_allclose(plain.predict(IMAGES, verbose=0), inlined.predict(IMAGES, verbose=0), atol=1e-5)
    assert not tf.config.functions_run_eagerly()


def test_a_model_is_saved_without_it(tmp_path):
    model = inline_convolutions(build())
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0), atol=1e-6)


def test_a_model_without_them_is_as_it_was():
    model = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(2, 3)])
    assert "train_step" not in vars(inline_convolutions(model))
