"""Features are what they depend on, and the same wherever they are kept."""

import inspect
import json
import logging
import os
import sys
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainConfig, TrainingOptions
from tlkeras.data.augment import augment
from tlkeras.data.pipeline import SplitData
from tlkeras.errors import UserError
from tlkeras.features import engines, extract
from tlkeras.features.engines import choose_engine
from tlkeras.features.extract import get_features
from tlkeras.features.split_model import split_model
from tlkeras.io.arrays import FileArray
from tlkeras.models.builders import build_classifier
from tlkeras.training.two_phase import train_two_phases


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Return an empty cache of the test's own."""
    monkeypatch.setenv("TLKERAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def features(tiny, colored):
    """Return `features(**options)`: those of the tiny backbone for 24 and 12 images; `pixels` is added to the first."""
    model = build_classifier(tiny, 3, weights="none", image_size=16)

    def make(pixels: int = 0, model=model, **options):
        train, validation = colored(24), colored(12, seed=1)
        train.inputs[0] += np.uint8(pixels)
        options = choose_engine(model, TrainingOptions(**{"views": 2} | options), 60)
        below = split_model(model, 0).below
        engine = cache(lambda: engines.make_engine(below, options.engine))
        return get_features(below, "tiny, pooled", train, validation, options, engine)

    return make


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_change_of_the_augmentation_code_makes_other_features(features, folder, monkeypatch, tmp_path):
    features()
    before = entries(folder)
    changed = tmp_path / "augment.py"
    changed.write_text(Path(inspect.getfile(augment)).read_text() + "# mine\n")
    files = {augment: str(changed)}
    monkeypatch.setattr("tlkeras.features.cache.inspect", SimpleNamespace(getfile=files.get))
    features()
    assert len(entries(folder) - before) == 1  # those of validation are as they were


def test_a_second_run_reads_what_the_first_computed(features, caplog):
    with caplog.at_level(logging.INFO, "tlkeras"):
        first, second = features(), features()
    assert [
        word for record in caplog.records for word in ("computed", "read from the cache") if word in record.message
    ] == ["computed", "read from the cache"]
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.arrays[0], other.arrays[0])


@pytest.mark.parametrize(
    "change",
    [{"pixels": 1}, {"seed": 1}, {"min_crop_area": 0.5}, {"flip": "none"}, {"views": 3}, {"feature_dtype": "float16"}],
    ids=lambda change: next(iter(change)),
)
def test_whatever_features_depend_on_makes_others(features, folder, change):
    features()
    before = entries(folder)
    features(**change)
    assert entries(folder) > before


def test_other_weights_and_another_pooling_make_other_features(tiny, features, folder):
    features()
    for number, options in enumerate(({"pooling": "max"}, {}), start=1):
        keras.utils.set_random_seed(number)
        model = build_classifier(tiny, 3, weights="none", image_size=16, **options)
        before = entries(folder)
        features(model=model)
        assert len(entries(folder)) == len(before) + 2


def test_options_of_the_training_alone_make_no_others(features, folder):
    features()
    before = entries(folder)
    features(batch_size=4, head_learning_rate=0.1)
    assert entries(folder) == before


def test_a_damaged_entry_is_computed_again(features, folder):
    first, _ = features()
    file = max(folder.glob("*/*.bin"), key=lambda path: path.stat().st_size)
    content = bytearray(file.read_bytes())
    content[7] ^= 1
    file.write_bytes(content)
    again, _ = features()
    np.testing.assert_array_equal(first.arrays[0], again.arrays[0])
    assert file.read_bytes() != bytes(content)


def test_the_result_is_the_same_wherever_features_are_kept(tiny, colored, folder, caplog):
    def weights(**options):
        keras.utils.set_random_seed(0)
        model = build_classifier(tiny, 3, weights="none", image_size=16)
        options = TrainingOptions(frozen_epochs=2, finetune_epochs=2, batch_size=8, **options)
        train_two_phases(model, colored(24), colored(12, seed=1), options)
        return model.get_weights()

    caplog.set_level(logging.INFO, "tlkeras")
    in_memory = weights(cache_gb=0.0)
    assert not folder.exists()
    for options, message in (({"memory_gb": 0.0}, "on disk, as more than 0.0 GB"), ({}, "read from the cache")):
        caplog.clear()
        found = weights(**options)
        assert message in caplog.text
        for one, other in zip(in_memory, found, strict=True):
            np.testing.assert_array_equal(one, other)


def test_without_room_anywhere_the_whole_network_runs_and_it_says_so(tiny, colored, caplog):
    model = build_classifier(tiny, 3, weights="none", image_size=16)
    options = TrainingOptions(frozen_epochs=1, finetune_epochs=1, memory_gb=0.0, cache_gb=0.0)
    with caplog.at_level(logging.INFO, "tlkeras"):
        result = train_two_phases(model, colored(24), colored(12), options)
    assert "more than --memory-gb (0.0) and --cache-gb (0.0) allow" in caplog.text
    assert "Features (" not in caplog.text
    assert [row["phase"] for row in result.history] == ["frozen", "finetune"]


def test_a_disk_that_cannot_be_written_costs_the_next_run_only(features, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    expected = features(cache_gb=0.0)
    monkeypatch.setattr(FileArray, "__setitem__", full)
    with caplog.at_level(logging.INFO, "tlkeras"):
        found = features()
    assert "not kept for the next run" in caplog.text and "No space left on device" in caplog.text
    np.testing.assert_array_equal(found[0].arrays[0], expected[0].arrays[0])
    with pytest.raises(OSError, match="No space left"):
        features(memory_gb=0.0)


def test_half_precision_costs_little(features):
    whole, half = features()[0], features(feature_dtype="float16")[0]
    assert half.arrays[0].dtype == "float16" and half.arrays[0].nbytes * 2 == whole.arrays[0].nbytes
    np.testing.assert_allclose(half.arrays[0], whole.arrays[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("engine", "tolerance"), [("openvino", 1e-4), ("openvino_bf16", 0.05)])
def test_openvino_gives_the_same_features(features, engine, tolerance):
    for one, other in zip(features(), features(engine=engine), strict=True):
        scale = np.abs(one.arrays[0]).max()
        np.testing.assert_allclose(other.arrays[0], one.arrays[0], atol=tolerance * scale)


@pytest.mark.parametrize(
    ("images", "missing", "options", "expected"),
    [
        (1000, (), {}, "openvino"),
        (999, (), {}, "tensorflow"),
        (1000, ("openvino",), {}, "tensorflow"),
        (1000, ("a library",), {}, "tensorflow"),
        (1000, ("processor",), {}, "tensorflow"),
        (1000, ("table",), {}, "tensorflow"),
        (1000, (), {"cluster": "local:2"}, "tensorflow"),
        (1000, (), {"engine": "tensorflow"}, "tensorflow"),
        (1, (), {"engine": "openvino_bf16"}, "openvino_bf16"),
    ],
)
def test_many_images_are_left_to_openvino_where_it_is(monkeypatch, images, missing, options, expected):
    if "openvino" in missing:
        monkeypatch.setitem(sys.modules, "openvino", None)
    if "a library" in missing:

        class Broken:
            @staticmethod
            def find_spec(name, *_):
                if name == "openvino":
                    raise OSError("libopenvino.so: cannot open shared object file")

        monkeypatch.delitem(sys.modules, "openvino", raising=False)
        monkeypatch.setattr(sys, "meta_path", [Broken, *sys.meta_path])
    gpus = ["a GPU"] if "processor" in missing else []
    monkeypatch.setattr("tlkeras.features.openvino.tf.config.list_physical_devices", lambda kind: gpus)
    if "table" in missing:
        own = keras.applications.MobileNetV2(alpha=0.35, weights=None, include_top=False, input_shape=(32, 32, 3))
        model = build_classifier(own, 2)
    else:
        model = build_classifier("MobileNetV2-0.35", 2, weights="none", image_size=32)
    assert choose_engine(model, TrainConfig(**options), images).engine == expected


def test_half_precision_is_not_left_to_openvino():
    model = build_classifier("MobileNetV2-0.35", 2, weights="none", image_size=32, precision="mixed_bfloat16")
    assert choose_engine(model, TrainConfig(), 1000).engine == "tensorflow"


def test_info_says_what_the_features_are(features, folder):
    features()
    info = json.loads(next(folder.glob("*/info.json")).read_text())
    assert info["key"]["features"] == "tiny, pooled" and info["key"]["examples"] in (24, 12)


def test_images_in_a_file_give_the_same_features(features, colored, tiny, folder, tmp_path):
    expected = features()[0].arrays[0]
    train, validation = colored(24), colored(12, seed=1)
    with (tmp_path / "pixels").open("w+b") as file:
        pixels = FileArray(file, train.inputs.shape, "uint8")
        pixels[0:24] = train.inputs
        train = SplitData(pixels, train.rows, train.targets)
        keras.utils.set_random_seed(0)
        model = build_classifier(tiny, 3, weights="none", image_size=16)
        below = split_model(model, 0).below
        options = TrainingOptions(views=2, cache_gb=0.0, engine="tensorflow")
        engine = cache(lambda: engines.make_engine(below, "tensorflow"))
        found = get_features(below, "tiny", train, validation, options, engine)
    np.testing.assert_array_equal(found[0].arrays[0], expected)


@pytest.mark.parametrize("error", [KeyboardInterrupt, UserError("A part of the work was lost")])
def test_what_a_killed_pass_computed_is_not_computed_again(features, folder, monkeypatch, caplog, error):
    """The 24 images of each of two views are five batches; the pass ends in its eighth, in the second view."""
    monkeypatch.setattr(extract, "BATCH_SIZE", 5)
    expected = features(cache_gb=0.0)
    monkeypatch.setattr("tlkeras.features.cache.SHARD", 0.0)
    calls = []

    make_engine = engines.make_engine

    def make_stopping_engine(*arguments):
        engine = make_engine(*arguments)

        def run(inputs):
            calls.append(len(inputs[0]))
            if len(calls) == 8:
                raise error
            return engine(inputs)

        return run

    monkeypatch.setattr(engines, "make_engine", make_stopping_engine)
    with pytest.raises((KeyboardInterrupt, UserError)):
        features()
    (left,) = folder.glob(".partial-*")
    left.rename(folder / left.name.replace(str(os.getpid()), "4999999"))  # no process has this number
    with caplog.at_level(logging.INFO, "tlkeras"):
        resumed = features()
    assert calls[8:] == [5, 5, 4, 5, 5, 2] and "resumed after 7 batches" in caplog.text
    for one, other in zip(resumed, expected, strict=True):
        np.testing.assert_array_equal(one.arrays[0], other.arrays[0])
    assert not list(folder.glob(".partial-*")) and not list(folder.glob("*/done"))
