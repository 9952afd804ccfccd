"""The scripts on a data set that TensorFlow Datasets keeps, of which only the prepared files are there."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

PARTS = "train=train[:75%],validation=train[75%:],test=test"


def prepare(place: Path, made, version: str = "1.0.0") -> None:
    """A data set `colours` with 8 pictures of each of three classes to learn from, and 3 to judge."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pictures = {"train": made({"red": 8, "green": 8, "blue": 8}), "test": made({"red": 3, "green": 3, "blue": 3})}

    class Colours(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        name = "colours"

        def _info(self):
            label = tfds.features.ClassLabel(names=["red", "green", "blue"])
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, _):
            return {split: self._generate_examples(folder) for split, folder in pictures.items()}

        def _generate_examples(self, folder):
            for path in folder.glob("*/*.png"):
                pixels = np.asarray(Image.open(path))
                yield str(path.relative_to(folder)), {"image": pixels, "label": path.parent.name}

    Colours(data_dir=place).download_and_prepare()


@pytest.mark.slow
def test_train_evaluate_repeat(run_script, call, made, tiny_options, tmp_path, caplog):
    prepare(tmp_path / "sets", made)
    data = ["--data", f"tfds:colours:1.0.0:{PARTS}", "--data-dir", "sets"]
    answer = run_script("train.py", *data, *tiny_options, "--batch-size", 8, "--run-dir", "runs/one", cwd=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert f"Data: tfds:colours:1.0.0:{PARTS}, 33 images, 3 classes (train 18, validation 6, test 9)." in answer.out
    with Path("runs/one/split.csv").open() as file:
        splits = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert splits["colours/1.0.0/train#0"] == "train" and splits["colours/1.0.0/train#18"] == "validation"

    answer = call("evaluate.py", "runs/one", "--json")
    assert json.loads(answer.out)["test"]["count"] == 9
    call("evaluate.py", "runs/one", "--data", "tfds:sets/colours/1.0.0:train", "--json")
    assert "the run was trained on 18 of these 24 pictures" in caplog.text
    assert json.loads(call("predict.py", "runs/one", made({"red": 1}), "--json").out)[0]["predictions"]

    shutil.move("sets", "elsewhere")
    answer = call("evaluate.py", "runs/one")
    assert answer.code == 2 and "has no data set 'colours:1.0.0', and none of that name lies in sets" in answer.err
    assert call("evaluate.py", "runs/one", "--data-dir", "elsewhere").code == 0

    config = yaml.safe_load(Path("runs/one/config.yaml").read_text())
    assert (config["data"], config["data_dir"]) == (data[1], "sets")
    repeat = ["--config", "runs/one/config.yaml", "--data-dir", "elsewhere", "--run-dir", "runs/two"]
    answer = run_script("train.py", *repeat, cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert Path("runs/two/history.csv").read_bytes() == Path("runs/one/history.csv").read_bytes()


@pytest.mark.slow
def test_another_version_is_not_taken_for_the_same(call, made, tiny_options, tmp_path, monkeypatch):
    """The newest version that is there is meant where none is given; it may be another one tomorrow."""
    prepare(tmp_path / "sets", made)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("tlkeras.run.train.load_tensorflow", lambda seed: None)
    monkeypatch.setattr("tlkeras.run.train.train_and_write", stop)
    monkeypatch.setattr("tlkeras.run.folder.has_checkpoints", lambda partial: partial.exists())
    command = (
        "train.py",
        "--data",
        "tfds:colours",
        "--data-dir",
        "sets",
        *tiny_options,
        "--run-dir",
        "run",
        "--resume",
    )
    assert call(*command).code == 130
    assert call(*command).code == 130  # the same data: it goes on
    prepare(tmp_path / "sets", made, version="2.0.0")
    answer = call(*command)
    assert answer.code == 2 and "was begun with other pictures or labels" in answer.err


def test_mistakes_come_before_anything_slow(call, tmp_path, monkeypatch):
    monkeypatch.setattr("tlkeras.run.train.find_data", lambda *_: pytest.fail("it looked for pictures"))
    for arguments, words in (
        (("--data", "tfds:beans:train,train"), "has two parts for train"),
        (("--data", "tfds:be ans"), "tfds:be ans is not understood"),
        (("--data-dir", tmp_path), f"Give --data tfds:NAME, or --data {tmp_path} if it is a folder of pictures"),
    ):
        answer = call("train.py", *arguments, "--run-dir", "runs/new")
        assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1
        assert not Path("runs").exists()


@pytest.mark.slow
def test_offline_in_a_process_of_its_own(run_script, tmp_path):
    """One sentence, at once; no noise of the packages around it, and no folder left."""
    pytest.importorskip("tensorflow_datasets")
    answer = run_script("train.py", "--data", "tfds:beans", "--data-dir", "sets", "--run-dir", "new", cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "") and answer.err.count("\n") == 1
    assert "would lie in sets/beans/0.1.0, and there is no network to download it: 127.0.0.1 did not" in answer.err
    assert list(tmp_path.iterdir()) == []
