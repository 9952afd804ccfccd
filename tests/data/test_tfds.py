"""Data sets of TensorFlow Datasets, built on the spot; no network is used."""

import numpy as np
import pytest

from tlkeras.data import tfds as source_tfds
from tlkeras.data.images import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.errors import UserError

pytestmark = pytest.mark.slow  # importing TensorFlow Datasets and writing records takes seconds

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Returns a function that prepares a data set with these rows of (colour, label) and serves it as `tfds:tiny`."""
    tfds = pytest.importorskip("tensorflow_datasets")

    def build(label_feature, splits: dict[str, list[tuple]], picture="image"):
        class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")
            name = "tiny"

            def _info(self):
                features = {picture: tfds.features.Image(encoding_format="png"), "label": label_feature(tfds)}
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, _):
                return {split: self._generate_examples(rows) for split, rows in splits.items()}

            def _generate_examples(self, rows):
                for number, (colour, label) in enumerate(rows):
                    yield number, {picture: np.full((6, 4, 3), COLOURS[colour], np.uint8), "label": label}

        builder = Tiny(data_dir=tmp_path)
        monkeypatch.setattr(tfds, "builder", lambda name: {"tiny": builder}[name])
        return builder

    return build


def one_class(tfds):
    return tfds.features.ClassLabel(names=list(COLOURS))


def test_splits_labels_and_pictures(build):
    rows = [(colour, colour) for colour in COLOURS]
    build(one_class, {"train": rows * 4, "test": rows, "extra": rows}).download_and_prepare()
    source = find_examples("tfds:tiny")
    assert (source.name, source.task) == ("tfds:tiny", "single_label")
    assert source.classes == ["red", "green", "blue"]  # the data set's own order
    assert [e.split for e in source.examples] == ["train"] * 12 + ["test"] * 3
    assert {e.name for e in source.examples} >= {"train#0", "train#11", "test#2"}
    assert source.notes == ["Other splits of the data set were ignored: extra."]
    pixels = decode_all(source.examples, 4, 0.0).pixels
    assert [tuple(picture[0, 0]) for picture in pixels] == [COLOURS[e.label] for e in source.examples]
    assert find_examples("tfds:tiny").examples == source.examples


def test_a_train_split_alone_is_split_later(build):
    build(one_class, {"train": [("red", "red"), ("blue", "blue")]}).download_and_prepare()
    assert [example.split for example in find_examples("tfds:tiny").examples] == [None, None]


def test_several_labels(build):
    def several(tfds):
        return tfds.features.Sequence(one_class(tfds))

    rows = [("red", ["red", "blue"]), ("red", []), ("red", ["green", "green"])]
    build(several, {"train": rows}).download_and_prepare()
    source = find_examples("tfds:tiny")
    assert source.task == "multi_label"
    assert sorted(example.label for example in source.examples) == [(), ("blue", "red"), ("green",)]


def test_examples_without_label_are_left_out(build):
    build(one_class, {"train": [("red", "red"), ("red", -1), ("blue", "blue")]}).download_and_prepare()
    source = find_examples("tfds:tiny")
    assert len(source.examples) == 2
    assert source.notes == ["Of the split train, 1 pictures have no label and were left out."]


def test_features_that_are_no_classification(build):
    build(lambda tfds: tfds.features.Scalar(np.float32), {"train": [("red", 1.5)]}).download_and_prepare()
    with pytest.raises(UserError, match="its features are image, label"):
        find_examples("tfds:tiny")


def test_unknown_name():
    pytest.importorskip("tensorflow_datasets")
    with pytest.raises(UserError, match=r"no 'no_such_set' \(Dataset no_such_set not found.\)"):
        find_examples("tfds:no_such_set")


def test_not_prepared_and_no_network(build, monkeypatch):
    builder = build(one_class, {"train": [("red", "red")]})
    monkeypatch.setattr(source_tfds.urllib.request, "getproxies", dict)
    monkeypatch.setattr(source_tfds, "DOWNLOAD_HOST", ("nowhere.invalid", 443))
    monkeypatch.setattr(builder, "download_and_prepare", lambda: pytest.fail("it must not try"))
    with pytest.raises(UserError, match=r"no network.*tfds build tiny"):
        find_examples("tfds:tiny")


def test_not_prepared_is_downloaded(build, monkeypatch):
    build(one_class, {"train": [("red", "red"), ("blue", "blue")]})
    monkeypatch.setattr(source_tfds, "_reachable", lambda: True)
    assert len(find_examples("tfds:tiny").examples) == 2


def test_download_that_fails(build, monkeypatch):
    builder = build(one_class, {"train": [("red", "red")]})
    monkeypatch.setattr(source_tfds, "_reachable", lambda: True)

    def fail():
        raise OSError("checksum differs\nand much more")

    monkeypatch.setattr(builder, "download_and_prepare", fail)
    with pytest.raises(UserError, match=r"could not be downloaded and prepared \(checksum differs\)"):
        find_examples("tfds:tiny")
