"""Statistics of BatchNormalization: those of images, or blended into what was there."""

import json

import keras
import numpy as np
import pytest

import tlkeras
from tlkeras.models.batch_norm import BATCH_SIZE
from tlkeras.models.introspect import get_backbone


def layers_of(model):
    return [layer for layer in get_backbone(model).layers if isinstance(layer, keras.layers.BatchNormalization)]


def statistics(model):
    return [np.array([layer.moving_mean, layer.moving_variance]) for layer in layers_of(model)]


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (3 * BATCH_SIZE, 16, 16, 3)).astype("uint8")


@pytest.fixture
def dark_and_light():
    """Return 60 images and their labels."""
    labels = np.tile(["dark", "light"], 30)
    images = np.random.default_rng(0).integers(0, 90, (60, 32, 32, 3)).astype("uint8")
    images[labels == "light"] += 150
    return images, labels


def test_statistics_are_those_of_the_images(tiny, images):
    model = tlkeras.build_classifier(tiny, 2, weights="none")
    tlkeras.calibrate_batch_norm(model, images)
    backbone = get_backbone(model)
    behind = keras.Model(backbone.input, backbone.get_layer("conv1").output)
    values = behind.predict(images / np.float32(127.5) - 1, verbose=0)
    mean, variance = statistics(model)[0]
    assert mean == pytest.approx(values.mean(axis=(0, 1, 2)), abs=1e-5)
    within = [part.var(axis=(0, 1, 2)) for part in np.split(values, 3)]
    assert variance == pytest.approx(np.mean(within, axis=0), rel=1e-4)


def test_a_fraction_of_them_is_blended_in_and_nothing_else_moves(tiny, images):
    model = tlkeras.build_classifier(tiny, 2, weights="none")
    own = statistics(model)
    before = [weight.numpy() for weight in model.weights]
    tlkeras.adapt_batch_norm(model, images, 1.0)
    target = statistics(model)
    model.set_weights(before)
    tlkeras.adapt_batch_norm(model, images, 0.25)
    for found, old, new in zip(statistics(model), own, target, strict=True):
        assert found == pytest.approx(0.75 * old + 0.25 * new, rel=1e-4, abs=1e-6)
    same = [weight.path for weight, old in zip(model.weights, before, strict=True) if (weight.numpy() == old).all()]
    assert {path for path in same if "moving" in path} == set() and len(same) == len(before) - 2 * len(own)
    assert not get_backbone(model).trainable_weights and all(layer.momentum == 0.99 for layer in layers_of(model))


def test_a_backbone_without_such_layers_is_refused(images):
    model = tlkeras.build_classifier("VGG16", 2, weights="none", image_size=32)
    with pytest.raises(tlkeras.UserError, match="VGG16 has no BatchNormalization layers to adapt"):
        tlkeras.adapt_batch_norm(model, images)


def test_a_run_starts_from_adapted_statistics_and_keeps_them(dark_and_light, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    for mode in ("source", "adapt"):
        run = tlkeras.train(data=dark_and_light, backbone="MobileNetV2-0.35", weights="bundled", epochs=(1, 1),
                            image_size=32, batch_norm=mode, run_dir=mode)  # fmt: skip
        found[mode] = statistics(keras.models.load_model(run / "model.keras", compile=False))
    data = tlkeras.prepare_data(dark_and_light, "MobileNetV2-0.35", image_size=32)
    train = tlkeras.split_data(data)["train"]
    model = tlkeras.build_classifier("MobileNetV2-0.35", data, weights="bundled")
    assert all((one == other).all() for one, other in zip(found["source"], statistics(model), strict=True))
    tlkeras.adapt_batch_norm(model, train.spread(512)[0], 0.5)
    for one, other in zip(found["adapt"], statistics(model), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3)
    assert "of 42 training images blended in (0.5)" in (tmp_path / "adapt" / "log.txt").read_text()
    assert json.loads((tmp_path / "adapt" / "metrics.json").read_text())["train"]["accuracy"] == 1.0


def test_statistics_move_where_all_layers_are_trained_and_that_is_asked_for(dark_and_light, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = {}
    for mode in ("source", "train"):
        run = tlkeras.train(data=dark_and_light, backbone="MobileNetV2-0.35", weights="bundled", epochs=(1, 2),
                            image_size=32, unfreeze="all", batch_norm=mode, run_dir=mode,
                            linear_probe="never")  # fmt: skip
        found[mode] = statistics(keras.models.load_model(run / "model.keras", compile=False))
        assert json.loads((run / "metrics.json").read_text())["kept_phase"] == "finetune"
    moved = [(one != other).any() for one, other in zip(found["source"], found["train"], strict=True)]
    assert all(moved)


def test_statistics_move_only_where_all_layers_are_trained(tiny, images):
    model = tlkeras.build_classifier(tiny, 2, weights="none")
    with pytest.raises(tlkeras.UserError, match=r"--unfreeze was not given\. Give --unfreeze all"):
        tlkeras.train_two_phases(model, (images, np.arange(len(images)) % 2), batch_norm="train")
    with pytest.raises(tlkeras.UserError, match="--unfreeze was conv2"):
        tlkeras.train(data="digits", batch_norm="train", unfreeze="conv2")
    with pytest.raises(tlkeras.UserError, match="batch_norm was auto, which only a training run decides"):
        tlkeras.train_two_phases(model, (images, np.arange(len(images)) % 2), (images, np.arange(len(images)) % 2),
                                 batch_norm="auto")  # fmt: skip


def test_random_weights_have_nothing_to_adapt():
    with pytest.raises(tlkeras.UserError, match=r"--batch-norm was adapt.*--weights was none"):
        tlkeras.train(data="digits", weights="none", batch_norm="adapt")


@pytest.mark.parametrize("best", ["source", "adapt"])
def test_auto_takes_what_tells_the_classes_apart(dark_and_light, tmp_path, monkeypatch, best):
    from tlkeras.selection import halving

    real = halving.held_out_metrics

    def measure(outputs, given):
        seen.append(outputs)
        return real(outputs, given)

    def probabilities(features, given, *_):
        right = np.eye(2)[given] if (len(seen) == 1) == (best == "adapt") else np.full((len(given), 2), 0.5)
        return right * 0.9 + 0.05

    seen = []
    monkeypatch.setattr(halving, "held_out_metrics", measure)
    monkeypatch.setattr(halving, "out_of_fold_probabilities", probabilities)
    monkeypatch.chdir(tmp_path)
    tlkeras.train(data=dark_and_light, backbone="MobileNetV2-0.35", weights="bundled", epochs=(1, 0), image_size=32,
                  batch_norm="auto", run_dir="run")  # fmt: skip
    said = (tmp_path / "run" / "log.txt").read_text()
    assert f"Batch-norm: {best}. A linear model on features, cross-validated on 51 images: source" in said
    assert ("training images blended in" in said) == (best == "adapt")
    assert f"batch_norm: {best}" in (tmp_path / "run" / "config.yaml").read_text()
