"""A module inside a model: what it computes, what is trainable, and that it is part of the saved model."""

import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError
from tlkeras.extras.hub.layer import HubModule
from tlkeras.features.engines import make_engine
from tlkeras.features.split_model import split_model
from tlkeras.models.builders import build_classifier, build_hub_classifier
from tlkeras.models.freezing import set_trainable
from tlkeras.models.introspect import get_backbone
from tlkeras.run.load_run import load_model
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import train_two_phases

KINDS = ("keras2", "keras3", "signature", "by_hand", "by_hand_plain")
PLAIN = {"flip": "none", "min_crop_area": 1.0, "color_jitter": 0.0, "batch_size": 10, "linear_probe": "never"}


@pytest.fixture(params=KINDS)
def model(request, module) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_hub_classifier(str(module(request.param)), 3, image_size=16, dropout=0.0)


def layer_in(model: keras.Model) -> HubModule:
    return get_backbone(model).get_layer("module")


def values(model: keras.Model) -> list[np.ndarray]:
    return [np.array(weight) for weight in layer_in(model).weights]


@pytest.mark.parametrize("kind", KINDS)
def test_the_features_are_those_of_the_module(module, noise, kind):
    """Compare with pixels from 0 to 1, in inference mode: dropout off, stored statistics."""
    model = build_hub_classifier(str(module(kind)), 3, image_size=16)
    loaded = tf.saved_model.load(str(module(kind)))
    pixels = tf.constant(noise(4, 16) / np.float32(255))
    if kind in ("keras3", "signature"):
        features = next(iter(loaded.signatures["serving_default"](pixels).values())).numpy().mean((1, 2))
    else:
        features = loaded(pixels, training=False) if kind != "by_hand_plain" else loaded(pixels)
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    np.testing.assert_allclose(pooled.predict_on_batch(noise(4, 16)), features, rtol=1e-5, atol=1e-5)


def fit(model: keras.Model, images: SplitData) -> None:
    model.compile("sgd", "categorical_crossentropy")
    model.fit(images.inputs, images.targets, epochs=2, verbose=0)


def test_frozen_weights_stay_and_unfrozen_ones_move(model, colored):
    set_trainable(model, "none")
    before = values(model)
    fit(model, colored(12))
    assert all(map(np.array_equal, before, values(model)))
    set_trainable(model, "all")
    fit(model, colored(12))  # the head is no longer zero, so its gradient reaches the module
    layer = layer_in(model)
    moved = [not np.array_equal(one, other) for one, other in zip(before, values(model), strict=True)]
    assert moved == [True] * len(layer.trainable_weights) + [False] * len(layer.non_trainable_weights)
    assert len(layer.trainable_weights) in (1, 4)


@pytest.mark.parametrize("kind", ["keras2", "by_hand"])
def test_losses_of_the_module_count_while_it_is_trainable(module, colored, kind):
    model = build_hub_classifier(str(module(kind)), 3, image_size=16, dropout=0.0)
    kernel = layer_in(model).weights[0]
    expected = {"keras2": 0.01, "by_hand": 0.1}[kind] * (np.array(kernel) ** 2).sum()
    images = colored(12)

    def loss(unfreeze: str) -> float:
        model.compile("sgd", "categorical_crossentropy")
        set_trainable(model, unfreeze)
        return model.evaluate(images.inputs, images.targets, verbose=0)

    assert expected > 0.01
    assert loss("all") - loss("none") == pytest.approx(expected, rel=1e-4)


LOAD = """
import keras, numpy as np, sys, tlkeras.extras.hub.layer
for kind in sys.argv[2:]:
    model = keras.models.load_model(sys.argv[1] + kind + ".keras")
    np.save(kind + ".npy", model.predict_on_batch(np.load("images.npy")))
    model.save("again-" + kind + ".keras")
"""


@pytest.mark.slow
def test_saved_and_loaded_in_another_process_where_the_module_is_gone(module, colored, noise, tmp_path):
    """Do so twice, so that a loaded model can be saved too."""
    expected = {}
    np.save(tmp_path / "images.npy", noise(4, 16))
    for kind in KINDS:
        folder = shutil.copytree(module(kind), tmp_path / "gone" / kind)
        model = build_hub_classifier(str(folder), 3, image_size=16)
        set_trainable(model, "all")
        fit(model, colored(12))
        set_trainable(model, "none")
        model = keras.Model(model.input, model.output, name=model.name)  # not compiled
        model.save(tmp_path / f"first-{kind}.keras")
        expected[kind] = model.predict_on_batch(noise(4, 16))
    shutil.rmtree(tmp_path / "gone")
    for time in ("first-", "again-"):
        subprocess.run([sys.executable, "-c", LOAD, time, *KINDS], cwd=tmp_path, check=True, capture_output=True)
        for kind in KINDS:
            np.testing.assert_allclose(np.load(tmp_path / f"{kind}.npy"), expected[kind], atol=1e-6)


def test_loaded_weights_are_frozen_and_trained_as_before(model, colored, tmp_path):
    set_trainable(model, "all")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    for unfreeze in ("none", "all"):
        set_trainable(loaded, unfreeze)
        set_trainable(model, unfreeze)
        assert len(layer_in(loaded).trainable_weights) == len(layer_in(model).trainable_weights)
    before = values(loaded)
    loaded.get_layer("output").kernel.assign(keras.random.normal((6, 3)))
    fit(loaded, colored(12))
    assert not np.array_equal(before[0], values(loaded)[0])


def test_a_model_of_an_earlier_version_opens(module, noise, tmp_path, rename_in_config):
    model = build_hub_classifier(str(module("keras2")), 3, hidden_units=[8])
    model.get_layer("output").kernel.assign(keras.random.normal((8, 3)))
    model.save(tmp_path / "model.keras")
    old = ".".join(["tlkeras", "hub", "layer"])
    rename_in_config(tmp_path / "model.keras", ("tlkeras.extras.hub.layer", old))
    loaded = load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(noise(2, 16)), model.predict_on_batch(noise(2, 16)))
    assert set_trainable(loaded, "module") == set_trainable(model, "module")


def test_exported_with_equal_outputs(model, noise, tmp_path):
    model.get_layer("output").kernel.assign(keras.random.normal((6, 3)))
    model.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    images = noise(4, 20).astype("float32")
    np.testing.assert_allclose(exported.serve(images), model.predict_on_batch(images), atol=1e-6)


def test_another_module_in_a_saved_model_is_refused(module, tmp_path):
    layer = HubModule(module("by_hand"), (16, 16, 3))
    other = HubModule.from_config(layer.get_config() | {"digest": "0" * 64})
    with pytest.raises(UserError, match="holds another module than the one that was saved or asked for"):
        other.load_assets(str(module("by_hand")))


def test_a_config_cannot_name_a_folder(module):
    config = HubModule(module("by_hand"), (16, 16, 3)).get_config()
    assert HubModule.from_config(config | {"folder": str(module("by_hand"))}).weights == []


def test_the_folder_may_be_deleted_while_the_model_is_used(module, noise, tmp_path):
    model = build_hub_classifier(str(shutil.copytree(module("keras2"), tmp_path / "gone")), 3)
    shutil.rmtree(tmp_path / "gone")
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_on_batch(noise(2, 16)), model.predict_on_batch(noise(2, 16)))


def test_pixels_are_rounded_for_integer_modules(tmp_path, noise):
    """Resized pixels lie between integers."""
    made = tf.Module()
    made.weight = tf.Variable(1.0)
    made.__call__ = tf.function(
        lambda pixels: tf.reduce_mean(tf.cast(pixels, tf.float32), (1, 2)) * made.weight,
        input_signature=[tf.TensorSpec((None, 8, 8, 3), tf.uint8)],
    )
    tf.saved_model.save(made, str(tmp_path / "module"))
    layer = HubModule(tmp_path / "module", (8, 8, 3))
    np.testing.assert_array_equal(layer(tf.fill((1, 8, 8, 3), 9.7)), [[10.0, 10.0, 10.0]])


def test_a_vocabulary_is_part_of_the_saved_model(tmp_path, noise):
    """Its file is an asset, which the table reads when the module is loaded, from the saved model too."""
    (tmp_path / "names.txt").write_text("dark\nbright\n")
    made = tf.Module()
    made.names = tf.saved_model.Asset(str(tmp_path / "names.txt"))
    whole = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
    made.table = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(made.names, tf.string, whole[0], tf.int64, whole[1]), -1
    )
    made.weight = tf.Variable(tf.eye(2, 4))

    @tf.function(input_signature=[tf.TensorSpec((None, 8, 8, 3))])
    def features(pixels):
        words = tf.where(tf.reduce_mean(pixels, (1, 2, 3)) > 0.5, "bright", "dark")
        return tf.gather(made.weight, made.table.lookup(words))

    made.__call__ = features
    tf.saved_model.save(made, str(tmp_path / "module"))
    model = build_hub_classifier(str(tmp_path / "module"), 3, hidden_units=[8])
    model.get_layer("output").kernel.assign(keras.random.normal((8, 3)))
    shutil.rmtree(tmp_path / "module")
    (tmp_path / "names.txt").unlink()
    images = np.stack([noise(1, 8)[0] // 4, 255 - noise(1, 8)[0] // 4])
    expected = model.predict_on_batch(images)
    assert not np.allclose(*expected)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.predict_on_batch(images), expected, atol=1e-6)
    loaded.export(tmp_path / "exported", verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    np.testing.assert_allclose(exported.serve(images.astype("float32")), expected, atol=1e-6)


@pytest.mark.parametrize("engine", ["tensorflow", pytest.param("openvino", marks=pytest.mark.slow)])
def test_features_of_a_module_by_each_engine(module, colored, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    model = build_hub_classifier(str(module("keras2")), 3, image_size=16)
    below = split_model(model, 0).below
    pixels = colored(8).inputs.astype("float32")
    found = make_engine(below, engine)([pixels])[0]
    np.testing.assert_allclose(found, below.predict_on_batch(pixels), rtol=1e-4, atol=1e-4)


def test_a_layer_without_its_files_says_so(module):
    layer = HubModule.from_config(HubModule(module("by_hand"), (16, 16, 3)).get_config())
    with pytest.raises(RuntimeError, match=r"has no files: they come with keras\.models\.load_model"):
        layer(keras.ops.zeros((1, 16, 16, 3)))


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_a_module_computes_in_float32_whatever_the_policy(module, noise, precision):
    exact = build_hub_classifier(str(module("keras2")), 3)
    mixed = build_hub_classifier(str(module("keras2")), 3, precision=precision)
    pooled = [keras.Model(one.input, one.get_layer("pool").input) for one in (exact, mixed)]
    np.testing.assert_array_equal(*(one.predict_on_batch(noise(2, 16)) for one in pooled))


@pytest.mark.parametrize("kind", ["keras2", "by_hand"])
def test_two_phases_with_and_without_cached_features(module, colored, kind):
    """Cached, the features of phase 1 are computed once; phase 2 runs the whole module. Both give the same weights."""
    ends = []
    for views in (0, 1):
        keras.utils.set_random_seed(0)
        model = build_hub_classifier(str(module(kind)), 3, image_size=16, dropout=0.0)
        options = TrainingOptions(**PLAIN, views=views, frozen_epochs=2, finetune_epochs=3, head_learning_rate=0.05)
        before = values(model)
        result = train_two_phases(model, colored(30), colored(15, seed=1), options)
        assert [row["phase"] for row in result.history] == ["frozen"] * 2 + ["finetune"] * 3
        assert result.kept != "finetune" or not np.array_equal(before[0], values(model)[0])
        ends.append([np.array(weight) for weight in model.weights] + [row["loss"] for row in result.history])
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_resumed_training_gives_the_same_weights(module, colored, tmp_path):
    """From the checkpoints as they are after the first epoch of each phase."""

    def train(checkpoints: Checkpoints) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        model = build_hub_classifier(str(module("keras2")), 3, image_size=16)
        options = TrainingOptions(
            batch_size=10, frozen_epochs=2, finetune_epochs=2, head_learning_rate=0.05, linear_probe="never"
        )
        train_two_phases(model, colored(30), colored(15, seed=1), options, checkpoints)
        return [np.array(weight) for weight in model.weights]

    class EachEpochKept(Checkpoints):
        def write(self, number, *rest):
            super().write(number, *rest)
            shutil.copytree(tmp_path / "whole", tmp_path / str(number))

    expected = train(EachEpochKept(tmp_path / "whole"))
    for last in (1, 3):
        assert all(map(np.array_equal, expected, train(Checkpoints(tmp_path / str(last))))), last


def test_only_one_size_where_the_module_takes_one(module):
    with pytest.raises(UserError, match=r"--image-size was 32; hub:.*keras2 takes 16 pixels, no more"):
        build_classifier(f"hub:{module('keras2')}", 3, image_size=32)
    with pytest.raises(UserError, match=r"--image-size was 8; hub:.*keras2 needs at least 16"):
        build_classifier(f"hub:{module('keras2')}", 3, image_size=8)
