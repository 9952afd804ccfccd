"""Datasets of TensorFlow Datasets, prepared on the spot; no network is used."""

import dataclasses
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from tlkeras.data.loading import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.errors import UserError
from tlkeras.io import network
from tlkeras.modalities.image import ImageModality

pytestmark = pytest.mark.slow  # importing TensorFlow Datasets and writing records takes seconds

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
EACH = [(color, color) for color in COLORS]


def image_feature(tfds, **options):
    return tfds.features.Image(encoding_format="png", **options)


def one_class(tfds):
    return tfds.features.ClassLabel(names=list(COLORS))


@pytest.fixture
def define(tmp_path):
    """Returns a function that makes the builder of a dataset `tiny` with these splits of (color, label) pairs."""
    tfds = pytest.importorskip("tensorflow_datasets")

    def define(splits, label=one_class, features=None, example=None, version="1.0.0", config=None, **info):
        class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version(version)
            BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []
            name = "tiny"

            def _info(self):
                kinds = features(tfds) if features else {"image": image_feature(tfds), "label": label(tfds)}
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(kinds), **info)

            def _split_generators(self, _):
                return {split: self._generate_examples(rows) for split, rows in splits.items()}

            def _generate_examples(self, rows):
                for number, (color, value) in enumerate(rows):
                    pixels = np.full((6, 4, 3), COLORS[color], np.uint8)
                    yield number, example(pixels, value) if example else {"image": pixels, "label": value}

        return Tiny(data_dir=tmp_path / "data")

    return define


@pytest.fixture
def build(define, tmp_path):
    """As `define`; the dataset is prepared, and its code is not known to TFDS any more."""

    def build(splits, label=one_class, shards=None, **options):
        tfds = pytest.importorskip("tensorflow_datasets")
        config = tfds.download.DownloadConfig(num_shards=shards) if shards else None
        builder = define(splits, label, **options)
        builder.download_and_prepare(download_config=config)
        return builder

    return build


@pytest.fixture
def find(tmp_path):
    """`find("tiny:train")` looks where `build` puts datasets."""
    return lambda text, **options: find_examples(f"tfds:{text}", data_dir=str(tmp_path / "data"), **options)


def first_pixels(examples):
    return [tuple(pixels[0, 0]) for pixels in decode_all(examples, ImageModality(4), 0.0).inputs]


def colors_of(examples):
    return [COLORS[example.label] for example in examples]


class TestReading:
    def test_splits_labels_and_images(self, build, find):
        build({"train": EACH * 4, "test": EACH, "extra": EACH})
        source = find("tiny")
        assert (source.name, source.task) == ("tfds:tiny", "single_label")
        assert source.classes == ["red", "green", "blue"]  # the dataset's own order
        assert [e.split for e in source.examples] == ["train"] * 12 + ["test"] * 3
        names = [example.name for example in source.examples]
        assert (names[0], names[11], names[14]) == ("tiny/1.0.0/train#0", "tiny/1.0.0/train#11", "tiny/1.0.0/test#2")
        assert source.notes == ["Ignored other splits of the dataset: extra."]
        assert first_pixels(source.examples) == colors_of(source.examples)
        assert find("tiny").examples == source.examples

    def test_a_train_split_alone_is_split_later(self, build, find):
        build({"train": EACH})
        assert [example.split for example in find("tiny").examples] == [None] * 3

    def test_two_splits_with_the_same_meaning(self, build, find):
        build({"train": EACH * 2, "val": EACH, "valid": EACH})
        assert [example.split for example in find("tiny").examples] == ["train"] * 6 + ["validation"] * 6

    @pytest.mark.parametrize("shards", [1, 4])
    def test_images_stay_where_tfds_put_them(self, build, find, tmp_path, shards):
        build({"train": EACH * 60}, shards=shards)
        before = sorted(path.name for path in tmp_path.rglob("*"))
        examples = find("tiny:train[5:170]").examples
        assert all(example.content is None and example.path.is_file() for example in examples)
        assert len({example.path for example in examples}) == shards
        assert first_pixels(examples) == colors_of(examples)
        assert sorted(path.name for path in tmp_path.rglob("*")) == before

    def test_indices_are_the_same_in_every_part(self, build, find):
        build({"train": EACH * 60}, shards=4)  # so many that TFDS would take turns between the files
        everything = {example.name: example for example in find("tiny:train").examples}
        parts = [find(f"tiny:{rule}").examples for rule in ("train[:17]", "train[17:-7]", "train[-7:]")]
        assert [example for part in parts for example in part] == list(everything.values())

    def test_array_record(self, define, find, tmp_path):
        pytest.importorskip("array_record")
        tfds = pytest.importorskip("tensorflow_datasets")
        builder = define({"train": EACH * 4})
        builder.download_and_prepare(file_format=tfds.core.FileFormat.ARRAY_RECORD)
        examples = find("tiny").examples
        assert all(example.path is None and callable(example.content) for example in examples)
        assert first_pixels(examples) == colors_of(examples)

    def test_examples_without_label_are_skipped(self, build, find):
        build({"train": [("red", "red"), ("red", -1), ("blue", "blue")]})
        source = find("tiny")
        assert [example.label for example in source.examples] in (["red", "blue"], ["blue", "red"])
        assert source.notes == ["Skipped 1 image of train without a label."]

    def test_mocked_data(self, build, tmp_path):
        tfds = pytest.importorskip("tensorflow_datasets")
        build({"train": EACH})
        with tfds.testing.mock_data(num_examples=7, data_dir=str(tmp_path / "data")):
            source = find_examples("tfds:tiny", training=False)
        assert len(source.examples) == 7 and decode_all(source.examples, ImageModality(4), 0.0).inputs.shape == (
            7,
            4,
            4,
            3,
        )

    @pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
    def test_damaged_files(self, build, find, damage):
        (file,) = build({"train": EACH * 9}).data_path.glob("*tfrecord*")
        whole = bytearray(file.read_bytes())
        whole[len(whole) // 2] ^= 1
        file.write_bytes(whole[: len(whole) // 2] if damage == "cut" else whole)
        if damage == "gone":
            file.unlink()
        with pytest.raises(UserError, match=r"tfds:tiny cannot be read from .*1\.0\.0 \(.*tfds build --overwrite\.$"):
            find("tiny")


class TestParts:
    def test_each_has_its_split(self, build, find):
        build({"train": EACH * 10, "test": EACH})
        examples = find("tiny:train=train[:50%],validation=train[20:],test=test").examples
        assert [e.split for e in examples] == ["train"] * 15 + ["validation"] * 10 + ["test"] * 3
        assert [e.name.partition("#")[2] for e in examples[15:25]] == [str(number) for number in range(20, 30)]

    def test_one_part_is_split_later(self, build, find):
        build({"train": EACH * 10, "test": EACH})
        examples = find("tiny:train[:10%]+test").examples
        assert [(e.split, e.name.split("/")[-1]) for e in examples] == [
            (None, name) for name in ("train#0", "train#1", "train#2", "test#0", "test#1", "test#2")
        ]

    @pytest.mark.parametrize(
        ("parts", "words"),
        [
            ("train=train[:60%],validation=train[50%:]", "overlap: they share 3 images of train, from index 15 on"),
            ("train=train,test=all", "share 30 images of train, from index 0 on"),
            ("train=train[:20]+train[10:15],test=test", "share 5 images of train, from index 10 on"),
            (
                "train=train[:0],test=test",
                "The part train[:0] of tfds:tiny:train=train[:0],test=test holds no images",
            ),
            ("train[20:10]", "holds no images: train has 30"),
            ("train[:31]", "Its splits are train (30 images), test (3 images)."),
            ("train[:120%]", "cannot be read"),
            ("other", "The part other of tfds:tiny:other cannot be read (Unknown split 'other'"),
        ],
    )
    def test_what_is_refused(self, build, find, parts, words):
        build({"train": EACH * 10, "test": EACH})
        with pytest.raises(UserError) as refused:
            find(f"tiny:{parts}")
        assert words in str(refused.value)


class TestFolders:
    def test_versions_and_configs(self, build, find):
        build({"train": EACH}, config="small", version="1.0.0")
        build({"train": EACH * 2}, config="small", version="2.0.0")
        build({"train": EACH * 3}, config="large", version="2.0.0")
        names = {text: find(text).examples[-1].name for text in ("tiny/small", "tiny/small:1.0.0", "tiny/large:2.*.*")}
        assert names == {
            "tiny/small": "tiny/small/2.0.0/train#5",
            "tiny/small:1.0.0": "tiny/small/1.0.0/train#2",
            "tiny/large:2.*.*": "tiny/large/2.0.0/train#8",
        }

    def test_folder_of_a_prepared_data_set(self, build, find):
        folder = build({"train": EACH * 4, "test": EACH}).data_path
        examples = find_examples(f"tfds:{folder}").examples
        assert examples == find("tiny").examples
        assert find_examples(f"tfds:{folder}:train[:5]").examples == [
            dataclasses.replace(example, split=None) for example in examples[:5]
        ]

    def test_environment(self, build, tmp_path, monkeypatch):
        build({"train": EACH})
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
        assert len(find_examples("tfds:tiny").examples) == 3

    def test_folder_above(self, build):
        builder = build({"train": EACH})
        with pytest.raises(
            UserError, match=r"holds versions or configs of a dataset.*Give one of these folders: .*tiny/1\.0\.0\."
        ):
            find_examples(f"tfds:{builder.data_path.parent}")

    def test_damaged_folder(self, build):
        folder = build({"train": EACH}).data_path
        (folder / "features.json").write_text("{")
        with pytest.raises(UserError, match="cannot be read as a prepared dataset"):
            find_examples(f"tfds:{folder}")

    def test_folder_of_images(self, tmp_path):
        for split, label in (("train", "a"), ("train", "b"), ("test", "a"), ("test", "b")):
            (tmp_path / split / label).mkdir(parents=True)
            Image.new("RGB", (4, 4)).save(tmp_path / split / label / "1.png")
        source = find_examples(f"tfds:{tmp_path}")
        assert [(e.label, e.split) for e in source.examples] == [
            ("a", "test"), ("b", "test"), ("a", "train"), ("b", "train"),
        ]  # fmt: skip
        assert source.examples == find_examples(str(tmp_path)).examples
        with pytest.raises(UserError, match=f"Give --data {tmp_path} for a folder of images"):
            find_examples(f"tfds:{tmp_path}:train[:80%]")
        with pytest.raises(UserError, match="There is no folder or file"):
            find_examples(f"tfds:{tmp_path}/nowhere")


class TestLabels:
    """The label of a row is made of its index: 0, 1, 2."""

    def found(self, build, find, features, values, **info):
        def example(pixels, value):
            kinds = features(pytest.importorskip("tensorflow_datasets"))
            return {key: pixels if key in ("image", "photo") else value[key] for key in kinds}

        build({"train": list(zip(COLORS, values, strict=True))}, features=features, example=example, **info)
        source = find("tiny")
        assert len(first_pixels(source.examples)) == 3
        return source.task, source.classes, sorted(example.label for example in source.examples)

    def test_several(self, build, find):
        def features(tfds):
            mask = tfds.features.LabeledImage(labels=2, shape=(None, None, 1))
            return {"photo": image_feature(tfds), "mask": mask, "tags": tfds.features.Sequence(one_class(tfds))}

        mask = np.zeros((6, 4, 1), np.uint8)
        values = [{"mask": mask, "tags": tags} for tags in (["red", "blue"], [], ["green", "green"])]
        answer = self.found(build, find, features, values)
        assert answer == ("multi_label", ["red", "green", "blue"], [(), ("blue", "red"), ("green",)])

    def test_objects(self, build, find):
        """As in COCO: a box and a class for each thing in the image."""

        def features(tfds):
            thing = {"bbox": tfds.features.BBoxFeature(), "label": one_class(tfds), "pose": one_class(tfds)}
            return {"image": image_feature(tfds), "image/id": np.int64, "objects": tfds.features.Sequence(thing)}

        box = pytest.importorskip("tensorflow_datasets").features.BBox(0.0, 0.0, 1.0, 1.0)
        things = [[{"bbox": box, "label": name, "pose": "red"} for name in names] for names in ("", ["blue"], COLORS)]
        values = [{"image/id": 1, "objects": some} for some in things]
        answer = self.found(build, find, features, values)
        assert answer == ("multi_label", ["red", "green", "blue"], [(), ("blue",), ("blue", "green", "red")])

    def test_the_data_set_says_which(self, build, find):
        def features(tfds):
            kinds = {
                "photo": image_feature(tfds),
                "icon": image_feature(tfds),
                "label": one_class(tfds),
                "species": one_class(tfds),
            }
            return kinds | {"photo/filename": tfds.features.Text()}

        icon = np.zeros((2, 2, 3), np.uint8)
        values = [{"icon": icon, "label": "red", "species": name, "photo/filename": name} for name in COLORS]
        expected = ("single_label", ["red", "green", "blue"], ["blue", "green", "red"])
        assert self.found(build, find, features, values, supervised_keys=("photo", "species")) == expected

    def test_numbers(self, build, find):
        values = [{"age": 1.5}, {"age": 3.0}, {"age": float("nan")}]
        with pytest.raises(AssertionError):  # the one without a number is left out
            self.found(build, find, lambda tfds: {"image": image_feature(tfds), "age": np.float32}, values)
        source = find("tiny")
        assert (source.task, source.classes) == ("regression", [])
        assert sorted(example.label for example in source.examples) == [1.5, 3.0]
        assert source.notes == ["Skipped 1 image of train without a label."]

    @pytest.mark.parametrize("kind", ["integers", "text"])
    def test_values_that_are_the_names(self, build, find, kind):
        values = [{"label": 7}, {"label": 9}, {"label": 7}] if kind == "integers" else [{"label": n} for n in "797"]

        def features(tfds):
            return {"image": image_feature(tfds), "label": tfds.features.Text() if kind == "text" else np.int64}

        assert self.found(build, find, features, values) == ("single_label", ["7", "9"], ["7", "7", "9"])

    def test_nested_features(self, build, find):
        def features(tfds):
            return {"observation": {"photo": image_feature(tfds), "broken": np.bool_}, "id": np.int64}

        def example(pixels, value):
            return {"observation": {"photo": pixels, "broken": value}, "id": 1}

        build({"train": list(zip(COLORS, [True, False, True], strict=True))}, features=features, example=example)
        source = find("tiny")
        assert (source.task, source.classes) == ("single_label", ["False", "True"])
        assert sorted(example.label for example in source.examples) == ["False", "True", "True"]
        assert sorted(first_pixels(source.examples)) == sorted(COLORS.values())

    @pytest.mark.parametrize(
        ("kinds", "words"),
        [
            (["text: Text", "label: class"], ["no image", "text (Text)"]),
            (["video: Video", "label: class"], ["no image", "video (Video)"]),
            (["left: Image", "right: Image", "label: class"], ["several that could be the image: left, right"]),
            (["image: Image", "caption: Text"], ["no label", "caption (Text)"]),
            (["image: Image", "a: class", "b: class"], ["several that could be the label: a, b"]),
            (["image: depth", "label: class"], ["float32", "PNG"]),
        ],
    )
    def test_what_cannot_be_predicted(self, define, find, kinds, words):
        tfds = pytest.importorskip("tensorflow_datasets")
        known = {
            "Text": tfds.features.Text(),
            "Video": tfds.features.Video((None, 6, 4, 3)),
            "Image": image_feature(tfds),
            "depth": tfds.features.Image(shape=(6, 4, 1), dtype=np.float32),
            "class": one_class(tfds),
        }
        pairs = [kind.split(": ") for kind in kinds]
        builder = define({}, features=lambda tfds: {key: known[kind] for key, kind in pairs})
        builder.info.set_splits(tfds.core.SplitDict([]))
        builder.data_path.mkdir(parents=True)
        builder.info.write_to_directory(builder.data_path)
        with pytest.raises(UserError) as refused:
            find("tiny")
        assert all(word in str(refused.value) for word in words)


class TestOffline:
    @pytest.fixture
    def offline(self, monkeypatch):
        pytest.importorskip("tensorflow_datasets")
        monkeypatch.setattr(urllib.request, "getproxies", dict)
        monkeypatch.setattr("tlkeras.data.tfds.builder.TIMEOUT", 0.5)

        def refuse(url, timeout):
            if url.endswith("googleapis.com"):
                time.sleep(60)  # no answer at all, not even from the look-up of names
            raise OSError("no network")

        monkeypatch.setattr(network, "check_reachable", refuse)

    def test_says_at_once_what_is_missing(self, offline, tmp_path):
        pytest.importorskip("tensorflow_datasets")
        start = time.monotonic()
        with pytest.raises(UserError) as refused:
            find_examples("tfds:beans", data_dir=str(tmp_path))
        assert time.monotonic() - start < 5
        for words in (
            f"would lie in {tmp_path}/beans/0.1.0",
            "there is no network",
            f"`tfds build beans --data_dir {tmp_path}`",
        ):
            assert words in str(refused.value)

    def test_another_version_lies_there(self, offline, tmp_path):
        pytest.importorskip("tensorflow_datasets")
        (tmp_path / "beans" / "0.0.9").mkdir(parents=True)
        (tmp_path / "beans" / "0.0.9" / "dataset_info.json").touch()
        with pytest.raises(UserError, match=r"Version 0\.0\.9 lies there: tfds:beans:0\.0\.9\."):
            find_examples("tfds:beans", data_dir=str(tmp_path))

    def test_a_proxy_that_does_not_answer(self, offline, monkeypatch, tmp_path):
        pytest.importorskip("tensorflow_datasets")
        monkeypatch.setattr(urllib.request, "getproxies", lambda: {"https": "http://127.0.0.1:9"})
        with pytest.raises(UserError, match=r"127\.0\.0\.1 did not answer"):
            find_examples("tfds:beans", data_dir=str(tmp_path))

    def test_files_to_fetch_by_hand(self, offline, tmp_path):
        pytest.importorskip("tensorflow_datasets")
        with pytest.raises(UserError, match=rf"fetched by hand \(.*Put them in {tmp_path}/downloads/manual\."):
            find_examples("tfds:resisc45", data_dir=str(tmp_path))

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("no_such_set", "has no dataset 'no_such_set', and none lies in"),
            ("ciafr10", "Did you mean cifar10?"),
            ("emnist/capitals", "BuilderConfig capitals not found with version 3.1.0). Its configs"),
            ("emnist/capitals", "Its configs are byclass, bymerge, balanced, letters"),
            ("beans/small", "BuilderConfig small not found with version 0.1.0). Give another"),
            ("cifar10:9.9.9", "cannot be loaded at version 9.9.9, only: 3.0.2"),
        ],
    )
    def test_what_there_is_not(self, offline, tmp_path, text, words):
        pytest.importorskip("tensorflow_datasets")
        with pytest.raises(UserError) as refused:
            find_examples(f"tfds:{text}", data_dir=str(tmp_path))
        assert words in str(refused.value)


class TestPreparing:
    @pytest.fixture
    def serve(self, define, monkeypatch):
        """The code of `tiny` is known to TFDS, and there is a network."""
        tfds = pytest.importorskip("tensorflow_datasets")
        builder = define({"train": EACH})
        monkeypatch.setattr(tfds, "builder", lambda name, data_dir: {"tiny": builder}[name])
        monkeypatch.setattr(network, "check_reachable", lambda *_: None)
        return builder

    def test_what_is_not_there_is_prepared(self, serve, find):
        assert len(find("tiny").examples) == 3
        assert serve.is_prepared()

    def test_that_fails(self, serve, find, monkeypatch):
        def fail():
            raise OSError("checksum differs\nand more")

        monkeypatch.setattr(serve, "download_and_prepare", fail)
        with pytest.raises(UserError, match=r"could not be downloaded and prepared \(checksum differs and more\)"):
            find("tiny")


def test_one_server_of_several_is_enough(monkeypatch):
    pytest.importorskip("tensorflow_datasets")
    from tlkeras.data.tfds.builder import any_reachable

    asked = []

    def ask(url, timeout):
        asked.append(url)
        if "slow" in url:
            time.sleep(60)  # no answer at all, not even from the look-up of names
        if "down" in url:
            raise OSError("down")
        if "other" in url:
            raise urllib.error.HTTPError(url, 404, "Not Found", {}, None)

    monkeypatch.setattr(network, "check_reachable", ask)
    begin = time.monotonic()
    assert any_reachable(["http://slow/1", "http://slow/2", "http://down/1", "http://up/1"])
    assert not any_reachable(["http://down/1"]) and not any_reachable([])
    assert not any_reachable(["http://slow/1"], timeout=0.2)
    assert time.monotonic() - begin < 2
    assert len(asked) == 5
    assert any_reachable(["http://other/1"])
