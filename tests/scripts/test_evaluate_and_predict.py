"""scripts/evaluate.py and predict.py on the shared run."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml
from PIL import Image


def test_evaluate_the_runs_own_test_images(call, trained):
    answer = call("evaluate.py", trained.path)
    assert answer.code == 0 and answer.err == ""
    lines = [line for line in answer.out.splitlines() if not line.startswith("Report: ")]
    assert lines[0].startswith("Test: accuracy 0.") and " of 6 images" in lines[0]
    assert [line.split()[0] for line in lines[-4:]] == ["class", "blue", "green", "red"]
    table = {" ".join(line.split()[:-4]): line.split()[-4] for line in lines[2:-4] if " to " in line}
    assert lines[1].split() == ["metric", "value", "95%", "CI"] and table["accuracy"] == lines[0].split()[2]
    assert {"balanced accuracy", "loss", "macro F1", "ROC AUC"} <= {line[:23].strip() for line in lines[2:-4]}
    assert max(map(len, lines[1:])) <= 80


def test_evaluate_says_what_training_said(call, trained):
    metrics = json.loads(call("evaluate.py", trained.path, "--json").out)
    assert set(metrics) == {"test"}
    assert [metrics["test"]["classes"][name]["count"] for name in ("blue", "green", "red")] == [2, 2, 2]
    logged = json.loads((trained.path / "metrics.json").read_text())["test"]
    for name in ("count", "correct", "accuracy"):
        assert metrics["test"][name] == logged[name]
    assert metrics["test"]["loss"] == pytest.approx(logged["loss"], rel=1e-5)


def test_evaluate_other_images(call, trained, made, caplog):
    """A folder of one class cannot be trained on, and can be evaluated."""
    metrics = json.loads(call("evaluate.py", trained.path, "--data", made({"red": 5}), "--json").out)
    assert metrics["all"]["count"] == 5 and metrics["all"]["classes"]["blue"]["count"] == 0
    assert caplog.text == ""


def test_evaluate_warns_of_training_images(call, trained, colors, caplog):
    call("evaluate.py", trained.path, "--data", colors, "--json")
    assert "the run was trained on 24 of these 36 images" in caplog.text
    assert "Leave --data out to evaluate its test images alone." in caplog.text


def test_training_images_are_known_by_their_content(call, trained, colors, caplog):
    """Not by their names: some are copied under others, and the names of training images hold others."""
    with (trained.path / "split.csv").open() as file:
        names = [row["path"] for row in csv.DictReader(file) if row["split"] == "train" and "red" in row["path"]]
    Path("copies/red").mkdir(parents=True)
    for number, name in enumerate(names[:3]):
        shutil.copy(colors / name, f"copies/red/copy{number}.png")
    Image.new("RGB", (40, 40), "red").save(f"copies/{names[0]}")
    call("evaluate.py", trained.path, "--data", "copies", "--json")
    assert "the run was trained on 3 of these 4 images" in caplog.text


def test_evaluate_images_with_splits_of_their_own(call, trained, made):
    Path("images").mkdir()
    for split, counts in (("train", {"red": 2, "blue": 2}), ("test", {"red": 3})):
        shutil.copytree(made(counts), Path("images", split))
    metrics = json.loads(call("evaluate.py", trained.path, "--data", "images", "--json").out)
    assert {split: values["count"] for split, values in metrics.items()} == {"train": 4, "test": 3}


def test_evaluate_names_what_it_cannot_read(call, trained, made, caplog):
    data = made({"red": 11})
    (data / "red" / "cut.png").write_bytes((data / "red" / "0.png").read_bytes()[:60])
    answer = call("evaluate.py", trained.path, "--data", data, "--json")
    assert json.loads(answer.out)["all"]["count"] == 11
    assert "red/cut.png" in caplog.text  # a logger without a handler writes to stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["RUN"]),
        (["nowhere"], ["There is no run folder nowhere"]),
        (["RUN", "--data", "nowhere"], ["There is no folder or file nowhere"]),
        (["RUN", "--data", "purple"], ["classes that the model of", "purple", "It knows blue, green, red"]),
        (["RUN", "--batch-size", "0"], ["--batch-size was 0"]),
        (["RUN", "--batch-size", "x"], ["--batch-size was x; it must be a whole number"]),
    ],
)
def test_evaluate_bad_input(call, trained, made, arguments, words):
    shutil.copytree(made({"red": 2}), "purple")
    Path("purple/red").rename("purple/purple")
    answer = call("evaluate.py", *(trained.path if word == "RUN" else word for word in arguments))
    assert answer.code == 2 and answer.out == "" and answer.err.count("\n") == 1
    for word in words:
        assert word in answer.err


def test_evaluate_where_the_images_are_gone(call, trained, tmp_path):
    shutil.copytree(trained.path, "run")
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    Path("run/config.yaml").write_text(yaml.safe_dump(config | {"data": "my/images"}))
    answer = call("evaluate.py", "run")
    assert answer.code == 2 and "run was trained on my/images" in answer.err and "--data" in answer.err


def test_predict_files_folders_and_patterns(call, trained, made):
    shutil.copytree(made({"red": 3, "blue": 2}), "images")
    Path("images/red/._0.png").write_text("what some systems leave beside an image")
    Path("images/notes.txt").write_text("no image")
    absolute = Path("images/red/2.png").resolve()
    answer = call("predict.py", trained.path, "images/red/1.png", "images", "imag*/**/2.png", absolute, "--json")
    assert answer.code == 0 and answer.err == ""
    predictions = json.loads(answer.out)
    expected = ["images/red/1.png", *(f"images/{name}.png" for name in ("blue/0", "blue/1", "red/0", "red/2"))]
    assert [entry["path"] for entry in predictions] == [*expected, str(absolute)]
    for entry in predictions:
        scores = [label["score"] for label in entry["predictions"]]
        assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-5)
        assert {label["label"] for label in entry["predictions"]} == {"blue", "green", "red"}


def test_predict_does_not_stop_at_an_unreadable_image(call, trained, made):
    shutil.copytree(made({"red": 2}), "images")
    Path("images/broken.jpg").write_text("no image")
    Path("odd [1].png").write_bytes(Path("images/red/0.png").read_bytes())
    answer = call("predict.py", trained.path, "images", "odd [1].png", "--top-k", 1)
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0].startswith("images/broken.jpg") and "unreadable: not a valid" in lines[0]
    assert [line.split("  ")[0].strip() for line in lines[1:]] == [
        "images/red/0.png",
        "images/red/1.png",
        "odd [1].png",
    ]
    assert all(len(line.split()) <= 4 for line in lines[1:])
    table = list(csv.DictReader(io.StringIO(call("predict.py", trained.path, "images", "--csv").out)))
    assert [row["rank"] for row in table] == ["", *"123", *"123"]
    assert table[0]["error"].startswith("not a valid")
    assert float(table[1]["score"]) >= float(table[2]["score"])
    answer = call("predict.py", trained.path, "images/broken.jpg", "--json")
    assert answer.code == 2 and "None of these images can be read" in answer.err
    entries = json.loads(answer.out)
    assert entries == [{"path": "images/broken.jpg", "error": table[0]["error"]}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["PATH"]),
        (["nowhere.jpg"], ["nowhere.jpg is neither a file nor a folder nor a matching pattern"]),
        (["a**b"], ["a**b is neither"]),
        (["empty"], ["empty holds no images"]),
        (["empty", "--top-k", "0"], ["--top-k was 0"]),
        (["empty", "--json", "--csv"], ["predict.py: Both --json and --csv were given; give one of them."]),
        (["empty", "--jsn"], ["Unknown option --jsn. Did you mean --json? See predict.py --help."]),
    ],
)
def test_predict_bad_input(call, trained, arguments, words):
    Path("empty").mkdir()
    answer = call("predict.py", trained.path, *arguments)
    assert answer.code == 2 and answer.out == "" and answer.err.count("\n") == 1
    for word in words:
        assert word in answer.err
