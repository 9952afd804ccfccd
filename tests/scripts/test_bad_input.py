"""Each mistake gives one sentence on stderr and exit code 2, before TensorFlow loads, and leaves no run folder."""

import shutil
import subprocess
import zipfile
from pathlib import Path

import h5py
import pytest

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.errors import UserError
from tlkeras.runtime import load_tensorflow


@pytest.fixture
def train(call, colors, tiny_options, monkeypatch):
    """Return `train("--data", …)`, which adds to options that work and fails where TensorFlow would be loaded."""

    def refuse(seed=None):
        raise AssertionError("TensorFlow would have loaded")

    monkeypatch.setattr("tlkeras.run.job.load_tensorflow", refuse)
    return lambda *arguments: call("train.py", "--data", colors, *tiny_options, "--run-dir", "runs/new", *arguments)


def check_sentence(answer, *words: str, script: str = "train.py") -> None:
    """Check that there is one line on stderr with these words, nothing else, exit code 2 and no folder."""
    assert answer.code == 2
    assert "Traceback" not in answer.err and "usage:" not in answer.err
    assert answer.err.count("\n") == 1 and answer.err.startswith(f"{script}: ") and answer.err.endswith(".\n")
    for word in words:
        assert word in answer.err
    assert not Path("runs").exists()


def test_no_such_folder(train):
    check_sentence(train("--data", "nowhere"), "nowhere", "There is no folder or file")


def test_no_images(train):
    Path("empty/a").mkdir(parents=True)
    Path("empty/a/notes.txt").write_text("no image")
    check_sentence(train("--data", "empty"), "empty holds 1 text, but no images", ".jpg")


def test_one_class(train, made):
    check_sentence(train("--data", made({"red": 9})), "one class only", "'red'")


def test_a_class_with_too_few_images(train, made):
    check_sentence(train("--data", made({"red": 9, "blue": 2})), "blue (2)", "train, validation, test")


def test_all_files_unreadable(train):
    for name in ("a", "b"):
        Path("broken", name).mkdir(parents=True)
        for number in range(5):
            Path("broken", name, f"{number}.jpg").write_text("no image")
    check_sentence(train("--data", "broken"), "cannot be read", ".jpg")
    check_sentence(train("--data", "broken", "--max-unreadable", 1), "None of the 10 images can be read", "a/0.jpg")


def test_too_many_files_unreadable(train, colors):
    answer = train("--max-unreadable", 0.01)
    check_sentence(answer, "More than 1% of the 37 images", "red/broken.png", "--max-unreadable")


@pytest.mark.parametrize("data", ["nowhere", "tiny"])
def test_data_come_before_weights(train, made, data):
    """Offline and without weights at hand: a mistake in the data is what is said."""
    folder = made({"red": 9, "blue": 2}) if data == "tiny" else data
    check_sentence(train("--data", folder, "--weights", "imagenet"), "blue (2)" if data == "tiny" else "nowhere")


def test_weights_are_checked_for_the_size_that_is_used(call, colors, monkeypatch):
    """Small images are enlarged up to a limit; at that size MobileNetV2 has another weight file."""

    def stop(*_):
        raise UserError("That is enough.")

    asked = []
    monkeypatch.setattr("tlkeras.modalities.image.MAX_UPSCALING", 4)
    monkeypatch.setattr(BackboneSpec, "check_weights", lambda spec, weights, size: asked.append(size))
    monkeypatch.setattr("tlkeras.run.job.decode_data", stop)
    check_sentence(call("train.py", "--data", colors, "--run-dir", "runs/new"), "That is enough.")
    assert asked == [160]


def test_class_weights_need_one_label_whatever_the_task_option_says(train, colors):
    rows = [f"{path},{number}.5" for number, path in enumerate(sorted(colors.glob("*/*.png")))]
    Path("numbers.csv").write_text("path,label\n" + "\n".join(rows))
    arguments = ("--data", "numbers.csv", "--class-weights", "balanced", "--max-unreadable", 0.5)
    check_sentence(train(*arguments), "--class-weights need classes; the task is regression")


def test_image_size_below_the_minimum(train):
    check_sentence(train("--image-size", 31), "--image-size was 31", "MobileNet-0.25 needs at least 32")


def test_unknown_backbone(train):
    check_sentence(train("--backbone", "ResNet5"), "ResNet5", "Did you mean ResNet50", "tlkeras summary lists all")


def test_unknown_stage(train):
    check_sentence(train("--unfreeze", "block_99"), "block_99", "Known are:")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--lr=0.1"], ["option --lr. Did you mean --head-learning-rate or --finetune-learning-rate? See train.py"]),
        (["--learning-rate", 1], ["Did you mean --head-learning-rate or --finetune-learning-rate?"]),
        (["--batch", 8], ["Did you mean --batch-size?"]),
        (["--size", 8], ["Did you mean --image-size?"]),
        (["--output", "x"], ["Did you mean --run-dir?"]),
        (["--out", "x"], ["Did you mean --run-dir?"]),
        (["--quick"], ["Unknown option --quick. See train.py --help."]),
        (["--frozen-epoch", 3], ["Unknown option --frozen-epoch. Did you mean --frozen-epochs?"]),
        (["extra"], ["extra was not expected. Did you mean --data extra? See train.py --help."]),
        (["--epochs", "five"], ["--epochs was five; give N for each phase"]),
        (["--overwrite", "yes"], ["yes was not expected"]),
        (["--batch-size"], ["--batch-size needs a value"]),
        (["--batch-size", 0], ["--batch-size was 0", "from 1 to 65536"]),
        (["--batch-size", "many"], ["--batch-size was many", "a whole number from 1 to 65536"]),
        (["--batch-size", 2.5], ["--batch-size was 2.5", "a whole number"]),
        (["--image-size", "big"], ["--image-size was big", "a whole number from 1 to 4096"]),
        (["--dropout", "nan"], ["--dropout was nan", "from 0.0 to 0.95"]),
        (["--dropout", 1.5], ["--dropout was 1.5", "from 0.0 to 0.95"]),
        (["--optimizer", "lion"], ["--optimizer was lion", "one of adam, adamw, sgd"]),
        (["--hidden-units", 256], ["--hidden-units was 256", "a list of whole numbers from 1, such as [256,128]"]),
        (["--unfreeze", "150%"], ["--unfreeze was 150%", "from 0% to 100%"]),
        (["--seed", -1], ["--seed was -1"]),
        (["--data", ""], ["Nothing was given for --data", "configs/digits.yaml"]),
        (["--engine", "onnx"], ["--engine was onnx", "openvino"]),
        (["--validation-split", 0.5, "--test-split", 0.45], ["--validation-split 0.5", "lower them"]),
    ],
)
def test_wrong_options(train, arguments, words):
    check_sentence(train(*arguments), *words)


def test_options_without_data(call):
    answer = call("train.py", "--backbone", "ResNet50")
    check_sentence(answer, "Nothing was given for --data: give a folder with one subfolder per class", "digits.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch: 3", ["Unknown option epoch in my.yaml. Did you mean frozen_epochs or finetune_epochs?"]),
        ("batch_size: many", ["batch_size in my.yaml was many", "a whole number"]),
        ("data: [a", ["my.yaml is not YAML", "line"]),
        ("seed: null", ["--seed was None; it must be a whole number"]),
        ("batch_size: null", ["--batch-size was None"]),
        ("overwrite: null", ["--overwrite was None; it must be true or false"]),
        ("hidden_units: null", ["--hidden-units was None; it must be a list"]),
        ("only text", ["my.yaml holds no options"]),
        ("", ["my.yaml holds no options"]),
        (b"\xff\xfe\x00", ["my.yaml is not YAML"]),
    ],
)
def test_wrong_config_file(train, text, words):
    Path("my.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    check_sentence(train("--config", "my.yaml"), *words)


def test_no_config_file(train, tmp_path):
    check_sentence(train("--config", "my.yaml"), "--config my.yaml cannot be read: No such file", "--print_config")
    check_sentence(train("--config", tmp_path), "cannot be read: Is a directory")


def test_weights_that_do_not_fit(train):
    """The file has as many parameters as VGG16 without its classifier."""
    with h5py.File("vgg.h5", "w") as file:
        file.attrs["layer_names"] = [b"block1_conv1"]
        group = file.create_group("block1_conv1")
        group.attrs["weight_names"] = [b"kernel"]
        group.create_dataset("kernel", shape=(14_714_688,), dtype="float32")  # takes no room until it is written
    check_sentence(train("--weights", "vgg.h5"), "vgg.h5 does not fit", "VGG16", "MobileNet-0.25")


def test_missing_weight_files(train):
    check_sentence(train("--weights", "my.h5"), "my.h5", "there is no such file")
    Path("my.h5").write_text("no weights")
    check_sentence(train("--weights", "my.h5"), "my.h5 is not a weight file")
    check_sentence(train("--weights", "random"), '"random"', "imagenet, bundled, none, or a file")


def test_imagenet_offline(train, monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    words = ["mobilenet_2_5_224_tf_no_top.h5", "https://storage.googleapis.com/", str(tmp_path / "keras" / "models")]
    check_sentence(train("--weights", "imagenet"), *words)


def test_no_disk_space(train, monkeypatch):
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=2**20))
    check_sentence(train(), "The run needs about", "1 MiB are free")


def test_the_run_folder_cannot_be_made(train):
    Path("file").write_text("")
    check_sentence(train("--run-dir", "file/run"), "file/run cannot be made: Not a directory")
    check_sentence(train("--run-dir", "/proc/run"), "/proc/run cannot be made")


def test_the_run_folder_exists(train, colors):
    Path("old").mkdir()
    Path("old/thesis.txt").write_text("years of work")
    check_sentence(train("--run-dir", "old"), "--run-dir old exists already", "--overwrite")
    check_sentence(train("--run-dir", "old", "--overwrite"), "old is not a run's folder")
    assert Path("old/thesis.txt").read_text() == "years of work"


@pytest.fixture
def damaged(trained, tmp_path) -> Path:
    """Return a copy of the run, to damage."""
    shutil.copytree(trained.path, tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("script", ["evaluate.py", "predict.py"])
class TestModelFile:
    """Both scripts refuse what is not a model; only for a file that looks like one do they load TensorFlow."""

    def check(self, call, script, colors, *words):
        answer = call(script, "run", *([colors] if script == "predict.py" else []))
        check_sentence(answer, *words, script=script)
        assert answer.out == ""

    def test_text(self, call, script, colors, damaged):
        (damaged / "model.keras").write_text("PK, but not a zip archive")
        self.check(call, script, colors, "model.keras is not a Keras model", "zip archive")

    def test_another_zip(self, call, script, colors, damaged):
        with zipfile.ZipFile(damaged / "model.keras", "w") as archive:
            archive.writestr("holiday.txt", "sun")
        self.check(call, script, colors, "model.keras is not a Keras model", "config.json")

    def test_a_zip_that_looks_like_a_model(self, call, script, colors, damaged):
        with zipfile.ZipFile(damaged / "model.keras", "w") as archive:
            for name in ("config.json", "metadata.json", "model.weights.h5"):
                archive.writestr(name, "{}")
        self.check(call, script, colors, "model.keras cannot be opened as a Keras model")

    def test_truncated(self, call, script, colors, damaged):
        content = (damaged / "model.keras").read_bytes()
        (damaged / "model.keras").write_bytes(content[: len(content) // 2])
        self.check(call, script, colors, "model.keras is not a Keras model")

    def test_missing(self, call, script, colors, damaged):
        (damaged / "model.keras").unlink()
        self.check(call, script, colors, "There is no model file run/model.keras")

    def test_labels_of_another_run(self, call, script, made, damaged):
        (damaged / "labels.json").write_text('{"task": "single_label", "classes": ["blue", "red"]}')
        data = made({"red": 3, "blue": 3})
        extra = ["--data", data] if script == "evaluate.py" else [data]
        check_sentence(call(script, "run", *extra), "labels.json", "(None, 3)", script=script)

    def test_damaged_labels(self, call, script, colors, damaged):
        (damaged / "labels.json").write_text("{")
        self.check(call, script, colors, "run is not a complete run folder")

    def test_no_run(self, call, script, colors):
        self.check(call, script, colors, "There is no run folder run")


def test_in_a_process_of_its_own(run_script, colors, tmp_path):
    """Check the same without any test harness: nothing is printed but the sentence."""
    answer = run_script("train.py", "--data", colors, "--backbone", "nonet", "--run-dir", "runs/new", cwd=tmp_path)
    assert (answer.code, answer.out) == (2, "") and answer.err.startswith(
        'train.py: There is no backbone called "nonet".'
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_disk_fills_up_while_the_run_is_written(call, colors, tiny_options, monkeypatch, small_disk):
    monkeypatch.setattr("tlkeras.run.job.check_space", lambda *_: None)
    # not deterministic, as that would be for all later tests
    monkeypatch.setattr("tlkeras.run.job.load_tensorflow", lambda seed: load_tensorflow())
    answer = call("train.py", "--data", colors, *tiny_options, "--run-dir", small_disk / "run")
    assert answer.code == 2 and answer.err.startswith(
        "train.py: The disk is full. Free some space. Then resume it with: "
    )
    assert answer.err.count("\n") == 1 and "--resume" in answer.err
    assert [entry.name for entry in small_disk.iterdir()] == [".run.partial"]


@pytest.fixture
def small_disk(tmp_path):
    """Mount a disk of 600 KB, where the test may."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)
