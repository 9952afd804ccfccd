"""Features that are computed once must change the time of a run and nothing else."""

import dataclasses
import logging

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData
from tlkeras.features.engines import trace
from tlkeras.features.extract import ExtractionJob, Features
from tlkeras.features.split_model import boundary_tensors
from tlkeras.models.builders import build_classifier
from tlkeras.models.freezing import first_trainable_index
from tlkeras.models.introspect import get_backbone
from tlkeras.training.two_phase import train_two_phases

PLAIN = {"flip": "none", "min_crop_area": 1.0, "color_jitter": 0.0}


def make_data(size: int = 32, count: int = 24, classes: int = 3) -> tuple[SplitData, SplitData]:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), dtype="uint8")
    targets = np.eye(classes, dtype="float32")[np.arange(count) % classes]
    half = count * 2 // 3
    return (
        SplitData(images, np.arange(half), targets[:half]),
        SplitData(images, np.arange(half, count), targets[half:]),
    )


def trained(backbone: str, data: tuple[SplitData, SplitData], task="single_label", precision="float32", **options):
    """Return a model after both phases, from the same initial weights each time, and the result."""
    keras.utils.set_random_seed(1)
    model = build_classifier(
        backbone, 3, weights="none", image_size=data[0].inputs.shape[1], dropout=0.3, hidden_units=[8], task=task,
        precision=precision,
    )  # fmt: skip
    settings = {"frozen_epochs": 3, "finetune_epochs": 2, "batch_size": 8} | options
    return model, train_two_phases(model, *data, TrainingOptions(**settings))


def test_grouped_convolutions_are_part_of_the_graph():
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 3, groups=4)])
    function = tf.function(
        lambda inputs: model(inputs, training=False), [tf.TensorSpec((None, 8, 8, 4), "float32")], autograph=False
    )
    graph = trace(function)
    assert not [one.type for one in graph.graph.get_operations() if "Call" in one.type]
    assert not tf.config.functions_run_eagerly()
    inputs = np.random.default_rng(0).normal(size=(2, 8, 8, 4)).astype("float32")
    np.testing.assert_allclose(graph(tf.constant(inputs)), model.predict(inputs, verbose=0), atol=1e-5)


@pytest.mark.parametrize(
    "backbone",
    [
        "Tiny",
        pytest.param("MobileNetV2-0.35", marks=pytest.mark.slow),
        pytest.param("ConvNeXtTiny", marks=pytest.mark.slow),
        pytest.param("NASNetMobile", marks=pytest.mark.slow),
    ],
)
@pytest.mark.filterwarnings("ignore:Even though the `tf.config.experimental_run_functions_eagerly`")
def test_same_weights_and_history_as_without_cached_features(backbone, tiny, request):
    data = make_data()
    if backbone != tiny:  # tracing a large network takes longer than these few steps
        tf.config.run_functions_eagerly(True)
        request.addfinalizer(lambda: tf.config.run_functions_eagerly(False))
    options = PLAIN | {"class_weights": "balanced", "label_smoothing": 0.1, "optimizer": "sgd"}
    plain, plain_result = trained(backbone, data, views=0, **options)
    cached, cached_result = trained(backbone, data, views=1, **options)
    for one, other in zip(plain.weights, cached.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5, err_msg=one.path)
    for one, other in zip(plain_result.history, cached_result.history, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert one["val_loss"] == pytest.approx(other["val_loss"], abs=1e-5)
    assert (plain_result.kept, plain_result.epoch) == (cached_result.kept, cached_result.epoch)


def test_multi_label_training_can_use_cached_features(tiny):
    train, validation = make_data()
    several = SplitData(train.inputs, train.rows, np.maximum(train.targets, train.targets[::-1]))
    plain, _ = trained(tiny, (several, validation), "multi_label", views=0, **PLAIN)
    cached, _ = trained(tiny, (several, validation), "multi_label", views=1, **PLAIN)
    for one, other in zip(plain.weights, cached.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_half_precision_training_can_use_cached_features(tiny, precision):
    plain, plain_result = trained(tiny, make_data(), precision=precision, views=0, **PLAIN)
    cached, cached_result = trained(tiny, make_data(), precision=precision, views=1, **PLAIN)
    for one, other in zip(plain.weights, cached.weights, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-2)
    for one, other in zip(plain_result.history, cached_result.history, strict=True):
        assert one["val_loss"] == pytest.approx(other["val_loss"], abs=1e-2)


def pixels_as_features(data: SplitData, options: TrainingOptions, views: int) -> Features:
    """Return the features of a backbone that does nothing."""
    arrays = [np.empty((views * len(data), 32, 32, 3), "float32")]
    ExtractionJob(data, dataclasses.replace(options, views=views), augmented=True).fill(lambda inputs: inputs, arrays)
    return Features(arrays, data.targets, views)


def test_each_view_is_augmented_differently_and_repeatably_but_for_the_first():
    data, _ = make_data()
    first, again, other = (
        pixels_as_features(data, TrainingOptions(min_crop_area=0.5, seed=seed), 3) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first.arrays[0], again.arrays[0])
    plain, one_view, other_view = np.split(first.arrays[0], 3)
    np.testing.assert_array_equal(plain, data.first(len(data))[0])
    assert np.abs(one_view - other_view).mean() > 5 and np.abs(one_view - plain).mean() > 5
    (only,) = pixels_as_features(data, TrainingOptions(min_crop_area=0.5), 1).arrays
    assert np.abs(only - plain).mean() > 5  # augmentation was asked for, and there is no other view
    assert np.abs(first.arrays[0] - other.arrays[0]).mean() > 3


def test_epochs_take_turns_through_the_views():
    data, _ = make_data()
    features = pixels_as_features(data, TrainingOptions(), views=2)
    batches = list(features.training_batches(batch_size=16, first_epoch=0, last_epoch=4, seed=0))
    views = [sorted(inputs.numpy().sum(axis=(1, 2, 3)).tolist()) for inputs, _ in batches]
    sums = np.split(features.arrays[0].sum(axis=(1, 2, 3)), 2)
    expected = [sorted(sums[view].tolist()) for view in (0, 1, 0, 1)]
    np.testing.assert_allclose(views, expected, rtol=1e-5)


def test_mixing_of_pixels_caches_nothing_and_logs_why(caplog, tiny):
    with caplog.at_level(logging.INFO, "tlkeras"):
        trained(tiny, make_data(), mixup=0.2, frozen_epochs=1, finetune_epochs=1)
    assert "MixUp and CutMix mix pixels" in caplog.text
    assert "Features (" not in caplog.text


@pytest.mark.slow
def test_nasnet_is_split_at_more_than_one_tensor():
    model = build_classifier("NASNetMobile", 2, weights="none", image_size=32)
    backbone = get_backbone(model)
    tensors = boundary_tensors(backbone, first_trainable_index(model, "reduce_8"))
    assert isinstance(tensors, tuple)
    assert len(tensors) == 2
