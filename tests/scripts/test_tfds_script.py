"""The scripts on a dataset that TensorFlow Datasets keeps, of which only the prepared files are there."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

PARTS = "train=train[:75%],validation=train[75%:],test=test"


def prepare(folder: Path, made, version: str = "1.0.0") -> None:
    """Prepare a dataset `colors` with 8 images of each of three classes for training, and 3 for the test."""
    tfds = pytest.importorskip("tensorflow_datasets")
    images = {"train": made({"red": 8, "green": 8, "blue": 8}), "test": made({"red": 3, "green": 3, "blue": 3})}

    class Colors(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)
        name = "colors"

        def _info(self):
            label = tfds.features.ClassLabel(names=["red", "green", "blue"])
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(), "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, _):
            return {split: self._generate_examples(root) for split, root in images.items()}

        def _generate_examples(self, root):
            for path in root.glob("*/*.png"):
                pixels = np.asarray(Image.open(path))
                yield str(path.relative_to(root)), {"image": pixels, "label": path.parent.name}

    Colors(data_dir=folder).download_and_prepare()


@pytest.mark.slow
def test_train_evaluate_repeat(run_script, call, made, tiny_options, tmp_path, caplog):
    prepare(tmp_path / "sets", made)
    data = ["--data", f"tfds:colors:1.0.0:{PARTS}", "--data-dir", "sets"]
    answer = run_script("train.py", *data, *tiny_options, "--batch-size", 8, "--run-dir", "runs/one", cwd=tmp_path)
    assert (answer.code, answer.err) == (0, "")
    assert f"Data: tfds:colors:1.0.0:{PARTS}, 33 images, 3 classes (train 18, validation 6, test 9)." in answer.out
    with Path("runs/one/split.csv").open() as file:
        splits = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert splits["colors/1.0.0/train#0"] == "train" and splits["colors/1.0.0/train#18"] == "validation"

    answer = call("evaluate.py", "runs/one", "--json")
    assert json.loads(answer.out)["test"]["count"] == 9
    call("evaluate.py", "runs/one", "--data", "tfds:sets/colors/1.0.0:train", "--json")
    assert "the run was trained on 18 of these 24 images" in caplog.text
    assert json.loads(call("predict.py", "runs/one", made({"red": 1}), "--json").out)[0]["predictions"]

    shutil.move("sets", "elsewhere")
    answer = call("evaluate.py", "runs/one")
    assert answer.code == 2 and "has no dataset 'colors:1.0.0', and none lies in sets" in answer.err
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

    monkeypatch.setattr("tlkeras.run.job.load_tensorflow", stop)
    monkeypatch.setattr("tlkeras.run.folder.checkpoints", lambda partial: [partial] * partial.exists())
    command = ("train.py", "--data", "tfds:colors", "--data-dir", "sets", *tiny_options, "--run-dir", "run", "--resume")
    assert call(*command).code == 130
    assert call(*command).code == 130  # the same data: it is resumed
    prepare(tmp_path / "sets", made, version="2.0.0")
    answer = call(*command)
    assert answer.code == 2 and "was started with other examples or labels" in answer.err


def test_mistakes_come_before_anything_slow(call, tmp_path, monkeypatch):
    monkeypatch.setattr("tlkeras.run.job.find_data", lambda *_: pytest.fail("it looked for images"))
    for arguments, words in (
        (("--data", "tfds:beans:train,train"), "has two parts for train"),
        (("--data", "tfds:be ans"), "tfds:be ans is not understood"),
        (
            ("--data", "digits", "--data-dir", tmp_path),
            f"Give --data tfds:NAME, or --data {tmp_path} if it is a folder of images",
        ),
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
