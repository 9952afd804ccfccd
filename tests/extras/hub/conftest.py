"""Hub modules of every published kind, made here: by Keras 2, by Keras 3, by hand."""

import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

SIZE = 16


def keras2(folder: Path) -> None:
    """Save convolution with an L2 penalty, BatchNormalization, dropout, mean: what the hub's own modules look like."""
    import tf_keras
    from tf_keras import layers

    tf_keras.utils.set_random_seed(0)
    model = tf_keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(6, 3, strides=2, activation="relu", kernel_regularizer=tf_keras.regularizers.L2(0.01)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.GlobalAveragePooling2D(),
        ]
    )
    model.compile()
    model.save(folder, save_format="tf")


def keras3_model():
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            layers.Input((SIZE, SIZE, 3)),
            layers.Conv2D(6, 3, strides=2, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
        ]
    )


def keras3(folder: Path) -> None:
    """Export a function `serve`, and a feature map in place of a vector."""
    keras3_model().export(folder, verbose=False)


def signature(folder: Path) -> None:
    """Save a model with nothing but a signature."""
    import tensorflow as tf

    tf.saved_model.save(keras3_model(), str(folder))


def by_hand(folder: Path, plain: bool = False) -> None:
    """Save a module for images of any size; unless `plain` with a flag for training, lists of weights and a loss."""
    import tensorflow as tf

    rng = np.random.default_rng(0)
    module = tf.train.Checkpoint()  # takes any attribute, where tf.Module has lists of its own
    module.kernel = tf.Variable(rng.normal(size=(6, 6)).astype("float32"))
    module.scale = tf.Variable(tf.ones(6), trainable=not plain)

    def features(pixels, training):
        mean, squares = tf.reduce_mean(pixels, (1, 2)), tf.reduce_mean(pixels**2, (1, 2))
        return tf.concat([mean, squares], 1) @ module.kernel * module.scale + tf.cast(training, "float32") * 1000.0

    pixels = tf.TensorSpec((None, None, None, 3))
    if plain:
        module.__call__ = tf.function(lambda pixels: features(pixels, False), input_signature=[pixels])
    else:
        module.__call__ = tf.function(lambda pixels, training=False: features(pixels, training))
        for training in (True, False):
            module.__call__.get_concrete_function(pixels, training=training)
        module.variables = [module.kernel, module.scale]
        module.trainable_variables = [module.kernel]
        loss = tf.function(lambda: 0.1 * tf.reduce_sum(module.kernel**2), input_signature=[])
        module.regularization_losses = [loss]
    tf.saved_model.save(module, str(folder))


@pytest.fixture(scope="session")
def module(tmp_path_factory) -> Callable[[str], Path]:
    """Return `module("keras2")`, the folder of a module; do not write into it."""
    made = {}

    def make(kind: str) -> Path:
        if kind not in made:
            folder = tmp_path_factory.mktemp("modules") / kind
            plain = {"plain": True} if kind == "by_hand_plain" else {}
            {"keras2": keras2, "keras3": keras3, "signature": signature}.get(kind, by_hand)(folder, **plain)
            made[kind] = folder
        return made[kind]

    return make


@pytest.fixture
def packed(module, tmp_path) -> Path:
    """Return a module as the hub sends it: a `.tar.gz` of what is in its folder."""
    with tarfile.open(tmp_path / "features.tar.gz", "w:gz") as file:
        file.add(module("by_hand"), arcname=".")
    return tmp_path / "features.tar.gz"
