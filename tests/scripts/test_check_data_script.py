"""scripts/check_data.py says what is wrong with a folder, by its exit code too; --fix and --undo."""

import csv
import json
import shutil
from pathlib import Path

import pytest

import tlkeras.run.check_data
from tlkeras.errors import UserError


def content(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_nothing_serious(call, made):
    answer = call("check_data.py", made({"red": 12, "blue": 12}), "--no-labels")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("24 images, 2 classes")
    assert max(map(len, answer.out.splitlines())) <= 80


def test_faults_are_listed_moved_and_brought_back(call, made, tmp_path):
    root = tmp_path / "images"
    shutil.copytree(made({"red": 12, "blue": 12}), root / "train")
    shutil.copytree(made({"green": 10}), root / "val")
    shutil.copytree(made({"green": 1, "blue": 1, "red": 12}) / "green", root / "train" / "green")
    (root / "val" / "red").mkdir()
    shutil.copy(root / "train/red/3.png", root / "val/red/leak.png")
    shutil.copy(root / "train/blue/1.png", root / "train/red/doubt.png")
    (root / "train/red/5.png").write_bytes((root / "train/red/5.png").read_bytes()[:900])
    before = content(root)
    answer = call("check_data.py", root, "--no-labels", "--output", "out", "--csv", "all.csv")
    assert answer.code == 1, answer.err
    findings = {one["kind"]: one for one in json.loads((tmp_path / "out/findings.json").read_text())}
    assert findings["unreadable"]["paths"] == ["train/red/5.png"]
    assert {"train/red/3.png", "val/red/leak.png"} <= set(findings["duplicates_in_splits"]["paths"])
    assert set(findings["duplicates_in_classes"]["paths"]) == {"train/blue/1.png", "train/red/doubt.png"}
    assert all(findings[kind]["severity"] == "serious" for kind in ("unreadable", "duplicates_in_splits"))
    assert (tmp_path / "out/duplicates_in_splits.png").is_file()
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert {"kind": "unreadable", "severity": "serious", "path": "train/red/5.png"}.items() <= rows[0].items()
    assert rows[0]["detail"]
    details = {(row["kind"], row["path"]): row["detail"] for row in rows}
    assert details["duplicates_in_splits", "val/red/leak.png"] == "copy of train/red/3.png"
    assert details["duplicates_in_classes", "train/blue/1.png"] == ""  # the first of its copies
    assert call("check_data.py", root, "--no-labels", "--fix").code == 1
    gone = before.keys() - content(root).keys()
    assert {"train/red/5.png", "train/red/3.png"} <= gone and "val/red/leak.png" not in gone
    assert not {"train/blue/1.png", "train/red/doubt.png"} & gone  # which label is right is not known
    again = json.loads(call("check_data.py", root, "--no-labels", "--json").out)
    assert not {"unreadable", "duplicates_in_splits"} & {one["kind"] for one in again}
    assert ".quarantine" not in call("check_data.py", root, "--no-labels").out
    assert call("check_data.py", root, "--undo").code == 0
    assert content(root) == before


def test_mistakes(call, tmp_path, made):
    (tmp_path / "a.csv").write_text("path,label\n1.png,a\n")
    for arguments, expected in (
        (["nowhere"], "There is no folder"),
        (["a.csv", "--fix"], "Delete lines of a CSV file"),
        ([made({"red": 2, "blue": 2}), "--undo"], "nothing to undo"),
        ([made({"red": 2, "blue": 2}), "--undo", "--fix"], "give one of them"),
        ([made({"red": 2, "blue": 2}), "--backbone", "MobileNetV9"], "MobileNetV9"),
        ([made({"red": 2, "blue": 2}), "--weights", "nowhere.weights.h5"], "nowhere.weights.h5"),
    ):
        answer = call("check_data.py", *arguments)
        assert answer.code == 2 and expected in answer.err


def test_wrong_labels_by_features(call, made, monkeypatch):
    """Of a real backbone with random weights: colors can be told by it."""
    monkeypatch.setenv("TLKERAS_CACHE", "cache")
    root = made({"red": 16, "blue": 16})
    (root / "red" / "7.png").rename(root / "blue" / "wrong.png")
    options = ("--backbone", "MobileNet-0.25", "--weights", "none")
    answer = call("check_data.py", root, *options, "--csv", "found.csv")
    assert answer.code == 0, answer.out + answer.err
    assert "blue/wrong.png" in answer.out
    with Path("found.csv").open(encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["kind"] == "label_errors"]
    assert row["path"] == "blue/wrong.png" and "looks like red" in row["detail"]


def cannot_download(*_):
    raise UserError("No network.")


def test_without_weights_the_rest_is_checked(call, made, monkeypatch):
    monkeypatch.setattr(tlkeras.run.check_data, "compute_features", cannot_download)
    answer = call("check_data.py", made({"red": 12, "blue": 12}))
    assert answer.code == 0 and "Wrong labels were not looked for. No network." in answer.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--output", "file"), "file is a file"),
        (("--output", "file/below"), "file is a file"),
        (("--csv", "."), "--csv . is a folder"),
        (("--csv", "nowhere/x.csv"), "a folder that does not exist"),
    ],
)
def test_places_that_cannot_be_written_to_are_refused_first(call, made, options, words):
    Path("file").touch()
    answer = call("check_data.py", made({"red": 3}), *options)
    assert answer.code == 2 and words in answer.err and answer.out == ""


def test_the_output_is_not_put_into_the_data(call, made):
    images = made({"red": 3})
    answer = call("check_data.py", images, "--output", images / "out")
    assert answer.code == 2 and "inside the data" in answer.err


def test_links_are_left_where_they_are(call, made):
    """Of a file and a link to it none is moved, as the link would lose its file, and no link that leads nowhere."""
    root = made({"red": 12, "blue": 12})
    (root / "red" / "00link.png").symlink_to("5.png")
    (root / "red" / "broken.png").symlink_to("nowhere.png")
    answer = call("check_data.py", root, "--no-labels", "--fix")
    assert "1 image cannot be read" in answer.out and "There is nothing to move." in answer.out
    assert (root / "red" / "00link.png").is_file() and (root / "red" / "5.png").is_file()
    assert (root / "red" / "broken.png").is_symlink()


def test_groups_stay_in_one_fold(call, made, tmp_path):
    """With two groups there are not five folds to look for wrong labels in, however many images there are."""
    root = made({"red": 12, "blue": 12})
    rows = [
        f"{path},{path.parent.name},{path.parent.name}{int(path.stem) % 2}" for path in sorted(root.glob("*/*.png"))
    ]
    (tmp_path / "list.csv").write_text("path,label,group\n" + "\n".join(rows))
    answer = call("check_data.py", "list.csv", "--backbone", "MobileNet-0.25", "--weights", "none")
    assert "Each class needs 5 different images or groups" in " ".join(answer.out.split())
