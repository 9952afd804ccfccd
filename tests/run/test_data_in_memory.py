"""Data of every kind that Python has: a run on them is the run on a folder of the same images, to the last bit."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tlkeras
from tlkeras.errors import UserError

NUMBERS = np.arange(36) // 12  # sorted by class, as a folder is listed
NAMES = np.array(["blue", "green", "red"])[NUMBERS]
NOISE = np.random.default_rng(0).integers(0, 60, (36, 20, 24, 3))
IMAGES = (NOISE + 60 * np.eye(3, dtype=int)[NUMBERS][:, None, None]).astype("uint8")
FAST = ("uint8 and names", "DataFrame")  # the kinds that are trained on in the fast tests
OPTIONS: dict[str, Any] = {"image_size": 16, "weights": "none", "epochs": (1, 1), "batch_size": 8, "views": 1}


class Batches(keras.utils.PyDataset):
    """Images and one-hot labels in batches of seven."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        chosen = slice(7 * index, 7 * index + 7)
        return IMAGES[chosen], np.eye(3)[NUMBERS[chosen]]


class Frame(dict):
    """What the package uses of a pandas DataFrame, which it does not depend on."""

    dtypes = ()

    @property
    def columns(self) -> list[str]:
        return [*self]

    def __len__(self) -> int:
        return len(next(iter(self.values())))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Return a folder of the same images as PNG files, with a CSV file that lists them."""
    root = tmp_path_factory.mktemp("same") / "images"
    lines = ["path,label"]
    for number, (name, image) in enumerate(zip(NAMES, IMAGES, strict=True)):
        (root / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(root / name / f"{number:02}.png")
        lines.append(f"{name}/{number:02}.png,{name}")
    (root / "list.csv").write_text("\n".join(lines))
    return root


KINDS: dict[str, Callable[[Path], Any]] = {
    "folder as a Path": lambda folder: folder,
    "folder as text": str,
    "CSV file": lambda folder: folder / "list.csv",
    "DataFrame": lambda folder: Frame(
        path=[folder / name / f"{number:02}.png" for number, name in enumerate(NAMES)], label=NAMES
    ),
    "uint8 and names": lambda _: (IMAGES, NAMES),
    "float32 and numbers": lambda _: (IMAGES.astype("float32"), NUMBERS),
    "Pillow and a list": lambda _: ([Image.fromarray(image) for image in IMAGES], NAMES.tolist()),
    "one-hot": lambda _: (IMAGES, np.eye(3, dtype="int64")[NUMBERS]),
    "tf.data": lambda _: tf.data.Dataset.from_tensor_slices((IMAGES, NUMBERS)),
    "tf.data in batches": lambda _: tf.data.Dataset.from_tensor_slices((IMAGES, NAMES)).batch(7),
    "PyDataset": lambda _: Batches(),
}


@pytest.fixture(scope="module")
def backbone(tiny_backbone) -> Iterator[str]:
    with tiny_backbone() as name:
        yield name


@pytest.fixture(scope="module")
def run(folder, backbone, tmp_path_factory) -> Path:
    """Return a run that was trained on the folder."""
    return tlkeras.train(data=folder, backbone=backbone, run_dir=tmp_path_factory.mktemp("runs") / "run", **OPTIONS)


def metrics(run: Path) -> dict:
    """Return the metrics of all splits, those of the classes without their names, and the history of a run."""
    values = json.loads((run / "metrics.json").read_text())
    splits = {name: values[name] for name in ("train", "validation", "test")}
    for split in splits.values():
        split["classes"] = list(split["classes"].values())
    return splits | {"h": (run / "history.csv").read_text()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_training_gets_is_the_same(folder, backbone, kind):
    expected = tlkeras.prepare_data(folder, backbone, image_size=16)
    data = tlkeras.prepare_data(KINDS[kind](folder), backbone, image_size=16)
    assert np.array_equal(data.inputs, expected.inputs)
    assert (data.task, len(data.classes)) == ("single_label", 3)
    for name, split in tlkeras.split_data(data).items():
        other = tlkeras.split_data(expected)[name]
        assert np.array_equal(split.rows, other.rows) and np.array_equal(split.targets, other.targets)


@pytest.mark.parametrize(
    "kind",
    [
        kind if kind in ("uint8 and names", "DataFrame") else pytest.param(kind, marks=pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_a_run_gives_the_same_metrics_to_the_last_bit(run, folder, backbone, tmp_path, kind):
    data = KINDS[kind](folder)
    other = tlkeras.train(data=data, backbone=backbone, run_dir=tmp_path / "other", **OPTIONS)
    assert metrics(other) == metrics(run)
    if not isinstance(data, str | Path):
        with pytest.raises(UserError, match="was trained on data in memory"):
            tlkeras.evaluate(other)
        assert tlkeras.evaluate(other, data)["all"]["count"] == 36


def test_the_config_of_a_run_has_a_word_for_its_data(folder, backbone):
    words = {tlkeras.data.sources.describe(make(folder)) for make in KINDS.values()}
    assert words - {str(folder), str(folder / "list.csv")} == set(tlkeras.data.sources.IN_MEMORY)
    for word in tlkeras.data.sources.IN_MEMORY:  # as in `--config RUN/config.yaml`
        with pytest.raises(UserError, match=f"--data was {word}, which a Python program had in memory"):
            tlkeras.prepare_data(word, backbone)


def test_a_run_on_arrays_resumes_to_the_last_bit(run, backbone, tmp_path, monkeypatch):
    from tlkeras.training.checkpoint import Checkpoints

    write, options = Checkpoints.write, OPTIONS | {"run_dir": tmp_path / "run", "backbone": backbone}

    def stop(self, number: int, *rest: Any) -> None:
        write(self, number, *rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "write", stop)
        with pytest.raises(KeyboardInterrupt, match=r"tlkeras\.train\(\.\.\., run_dir="):
            tlkeras.train(data=(IMAGES, NAMES), **options)
    with pytest.raises(UserError, match="other examples or labels"):
        tlkeras.train(data=(IMAGES[::-1], NAMES), resume=True, **options)
    assert metrics(tlkeras.train(data=(IMAGES, NAMES), resume=True, **options)) == metrics(run)


def test_the_columns_of_a_data_frame(folder, monkeypatch):
    monkeypatch.chdir(folder)
    paths = ["blue/00.png", "green/12.png", "red/24.png"]
    find = tlkeras.data.sources.find_examples
    listing = find(Frame(Path=paths, Label=["a|b", ["b"], None], split=["train", "val", "test"]), training=False)
    assert [example.label for example in listing.examples] == [("a", "b"), ("b",), ()]
    assert [example.split for example in listing.examples] == ["train", "validation", "test"]
    assert find(Frame(path=paths, label=np.array([0.5, 1, 2]))).examples[1].label == 1.0
    with pytest.raises(UserError, match="Line 2 of DataFrame has no label"):
        find(Frame(path=paths, label=["a", float("nan"), "b"]))
    with pytest.raises(UserError, match="The columns found are: file, label"):
        find(Frame(file=paths, label=["a", "b", "c"]))
    monkeypatch.chdir(folder.parent)
    with pytest.raises(UserError, match=f"Write paths relative to {folder.parent}"):
        find(Frame(path=paths, label=["a", "b", "c"]))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"lr": 1}, "Unknown option lr of train. Did you mean head_learning_rate or finetune_learning_rate?"),
        ({"epochs": 10}, "epochs was 10; it must be those of both phases, such as epochs=(10, 10)"),
        ({"epochs": (1, 1), "frozen_epochs": 2}, "Both epochs and frozen_epochs were given"),
        ({"epochs": (0, 1)}, "--frozen-epochs was 0"),
        ({"data": None}, "Nothing was given for --data"),
        ({"data": 7}, "The data are a int. Give a folder"),
    ],
)
def test_mistakes_in_a_call_of_train(backbone, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        tlkeras.train(**{"data": (IMAGES, NAMES), "backbone": backbone, "weights": "none"} | arguments)
    assert words in str(error.value) and not [*tmp_path.iterdir()]


def test_a_config_may_hold_the_data_and_is_changed_by_keywords():
    from tlkeras.data.prepare import name_data
    from tlkeras.run.train import make_config

    config = tlkeras.TrainConfig(data=(IMAGES, NAMES), dropout=0.5)
    assert repr(config) == "TrainConfig(data=<tuple>, dropout=0.5)"
    named, data = name_data(make_config(config, (3, 4), {"dropout": 0.1}))
    assert repr(named) == "TrainConfig(data='arrays', dropout=0.1, frozen_epochs=3, finetune_epochs=4)"
    assert data[0] is IMAGES
    with pytest.raises(UserError, match=r"A PosixPath was given; it must be a TrainConfig. Give data as train\(data="):
        tlkeras.train(Path("photos"))


def test_predict_takes_paths_and_images_in_memory(run, folder):
    file = folder / "red" / "24.png"
    (expected,) = tlkeras.predict(run, file)
    image = IMAGES[24]
    given = [str(file), image, image.astype("float32"), IMAGES[24:25], Image.fromarray(image), [image]]
    for one in given:
        (found,) = tlkeras.predict(run, one)
        assert found.scores == expected.scores
    several = tlkeras.predict(run, [IMAGES[24:26], file, Image.fromarray(image)])
    assert [one.path for one in several] == ["image 1", "image 2", str(file), "image 3"]
    assert dict(several[3].scores) == pytest.approx(dict(expected.scores))
    assert len(tlkeras.predict(run, folder)) == 36
    for wrong, words in ((image / 255, "from 0 to 1"), (IMAGES[..., :2], "shape"), (None, "are NoneType")):
        with pytest.raises(UserError, match=words):
            tlkeras.predict(run, wrong)


def test_reprs_are_short(backbone):
    data = tlkeras.prepare_data({"train": (IMAGES, NAMES), "val": (IMAGES, NAMES)}, backbone, 16)
    assert repr(data) == "PreparedData(arrays: 72 images of 16 px, 3 classes, train 36, validation 36)"
    split = tlkeras.split_data(data)["train"]
    assert repr(split) == "SplitData(36 images, uint8 (16, 16, 3), targets (36, 3), task single_label)"
    assert repr(tlkeras.DataOptions(data=Path("photos"))) == "DataOptions(data='photos')"
    row = {"phase": "frozen", "epoch": 7, "loss": 0.1, "val_loss": 0.25}
    result = tlkeras.training.two_phase.TrainingResult([row], {}, "frozen", 7)
    assert repr(result) == "TrainingResult(1 epochs, kept epoch 7 (frozen), val_loss 0.25)"
    assert dataclasses.replace(tlkeras.TrainConfig(run_dir=Path("x"))).run_dir == "x"
