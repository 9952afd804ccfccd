"""scripts/evaluate.py, predict.py and summary.py on the shared run."""

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
import yaml

from tlkeras.backbones import BACKBONES, find_stage


def test_evaluate_the_runs_own_test_pictures(call, trained):
    answer = call("evaluate.py", trained.path)
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0].startswith("Test: accuracy 0.") and " of 6 images" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["class", "blue", "green", "red"]


def test_evaluate_says_what_training_said(call, trained):
    figures = json.loads(call("evaluate.py", trained.path, "--json").out)
    assert set(figures) == {"test"}
    assert [figures["test"]["classes"][name]["count"] for name in ("blue", "green", "red")] == [2, 2, 2]
    told = json.loads((trained.path / "metrics.json").read_text())["test"]
    for name in ("count", "right", "accuracy"):
        assert figures["test"][name] == told[name]
    assert figures["test"]["loss"] == pytest.approx(told["loss"], rel=1e-5)


def test_evaluate_other_pictures(call, trained, made):
    """A folder of one class cannot be trained on, and can be judged."""
    figures = json.loads(call("evaluate.py", trained.path, "--data", made({"red": 5}), "--json").out)
    assert figures["all"]["count"] == 5 and figures["all"]["classes"]["blue"]["count"] == 0
    figures = json.loads(call("evaluate.py", trained.path, "--data", made({"red": 1, "blue": 3}), "--json").out)
    assert figures["all"]["count"] == 4


def test_evaluate_says_which_pictures_the_run_knows(call, trained, made, colours, caplog):
    call("evaluate.py", trained.path, "--data", colours, "--json")
    assert "the run was trained on 24 of these 37 pictures" in caplog.text
    caplog.clear()
    call("evaluate.py", trained.path, "--data", made({"red": 2, "blue": 3}), "--json")
    assert caplog.text == ""


def test_evaluate_pictures_with_splits_of_their_own(call, trained, made):
    Path("pictures").mkdir()
    for split, counts in (("train", {"red": 2, "blue": 2}), ("test", {"red": 3})):
        shutil.copytree(made(counts), Path("pictures", split))
    figures = json.loads(call("evaluate.py", trained.path, "--data", "pictures", "--json").out)
    assert {split: values["count"] for split, values in figures.items()} == {"train": 4, "test": 3}


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


def test_evaluate_where_the_pictures_are_gone(call, trained, tmp_path):
    shutil.copytree(trained.path, "run")
    config = yaml.safe_load(Path("run/config.yaml").read_text())
    Path("run/config.yaml").write_text(yaml.safe_dump(config | {"data": "my/pictures"}))
    answer = call("evaluate.py", "run")
    assert answer.code == 2 and "run was trained on my/pictures" in answer.err and "--data" in answer.err


def test_predict_files_folders_and_patterns(call, trained, made):
    shutil.copytree(made({"red": 3, "blue": 2}), "pictures")
    Path("pictures/red/._0.png").write_text("what some systems leave beside a picture")
    Path("pictures/notes.txt").write_text("no picture")
    absolute = Path("pictures/red/2.png").resolve()
    answer = call("predict.py", trained.path, "pictures/red/1.png", "pictures", "pict*/**/2.png", absolute, "--json")
    assert answer.code == 0 and answer.err == ""
    predictions = json.loads(answer.out)
    expected = ["pictures/red/1.png", *(f"pictures/{name}.png" for name in ("blue/0", "blue/1", "red/0", "red/2"))]
    assert [entry["path"] for entry in predictions] == [*expected, str(absolute)]
    for entry in predictions:
        scores = [label["score"] for label in entry["predictions"]]
        assert scores == sorted(scores, reverse=True) and sum(scores) == pytest.approx(1, abs=1e-5)
        assert {label["label"] for label in entry["predictions"]} == {"blue", "green", "red"}


def test_predict_does_not_stop_at_an_unreadable_picture(call, trained, made):
    shutil.copytree(made({"red": 2}), "pictures")
    Path("pictures/broken.jpg").write_text("no picture")
    Path("odd [1].png").write_bytes(Path("pictures/red/0.png").read_bytes())
    answer = call("predict.py", trained.path, "pictures", "odd [1].png", "--top-k", 1)
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()
    assert lines[0].startswith("pictures/broken.jpg") and "unreadable: not a valid" in lines[0]
    assert [line.split("  ")[0].strip() for line in lines[1:]] == [
        "pictures/red/0.png",
        "pictures/red/1.png",
        "odd [1].png",
    ]
    assert all(len(line.split()) <= 4 for line in lines[1:])
    table = list(csv.DictReader(io.StringIO(call("predict.py", trained.path, "pictures", "--csv").out)))
    assert [row["rank"] for row in table] == ["", *"123", *"123"]
    assert table[0]["error"].startswith("not a valid")
    assert float(table[1]["score"]) >= float(table[2]["score"])
    answer = call("predict.py", trained.path, "pictures/broken.jpg", "--json")
    assert answer.code == 2 and "Not one of these pictures can be read" in answer.err
    entries = json.loads(answer.out)
    assert entries == [{"path": "pictures/broken.jpg", "error": table[0]["error"]}]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["PATH"]),
        (["nowhere.jpg"], ["nowhere.jpg is neither a file nor a folder nor a pattern"]),
        (["a**b"], ["a**b is neither"]),
        (["empty"], ["empty holds no pictures"]),
        (["empty", "--top-k", "0"], ["--top-k was 0"]),
        (["empty", "--json", "--csv"], ["--csv", "--json"]),
        (["empty", "--jsn"], ["There is no option --jsn. Did you mean --json?"]),
    ],
)
def test_predict_bad_input(call, trained, arguments, words):
    Path("empty").mkdir()
    answer = call("predict.py", trained.path, *arguments)
    assert answer.code == 2 and answer.out == "" and answer.err.count("\n") == 1
    for word in words:
        assert word in answer.err


def test_table_of_all_backbones(call):
    answer = call("summary.py")
    assert answer.code == 0 and answer.err == ""
    lines = answer.out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(BACKBONES)
    for line, row in zip(lines, BACKBONES.values(), strict=True):
        assert f" {row.parameters:,} " in line and f" {row.finetune_from}*" in line


@pytest.mark.parametrize("name", ["MobileNetV2-0.35", "vgg16"])
def test_stages_of_a_backbone(call, name):
    lines = call("summary.py", name).out.splitlines()
    row = next(row for row in BACKBONES.values() if row.name.lower() == name.lower())
    assert [line.split()[0].rstrip("*") for line in lines[1:-1]] == [stage.name for stage in row.stages]
    counts = [int(line.split()[3].replace(",", "")) for line in lines[1:-1]]
    assert 0.99 * row.parameters <= sum(counts) <= row.parameters
    learning = [int(line.split()[4].replace(",", "")) for line in lines[1:-1]]
    assert learning == sorted(learning, reverse=True)
    assert f"{row.parameters:,} parameters" in lines[-1]


def test_stages_of_a_run(call, trained):
    whole = call("summary.py", trained.path).out.splitlines()
    assert "MobileNet-0.25 at 32 px: " in whole[0] and "in the head" in whole[0]
    assert [line.split()[0].rstrip("*") for line in whole[2:-1]] == [
        stage.name for stage in BACKBONES["MobileNet-0.25"].stages
    ]
    assert call("summary.py", trained.path / "model.keras").out.splitlines() == whole


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ResNet5", "Did you mean ResNet50"),
        ("nowhere.keras", "There is no model file"),
        (".", "not a whole run folder"),
    ],
)
def test_summary_bad_input(call, name, words):
    answer = call("summary.py", name)
    assert answer.code == 2 and answer.out == "" and words in answer.err and answer.err.count("\n") == 1


def test_every_stage_is_found_by_its_own_name():
    """MobileNetV2 has a stage Conv1 and a stage Conv_1: what is written exactly comes before what is alike."""
    for row in BACKBONES.values():
        for stage in row.stages:
            assert find_stage(row, stage.name) is stage, (row.name, stage.name)
