"""The README's map: it names all there is, and what it tells to change in one file can be changed there."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Where to change what\n")[2]
SECTION = SECTION.partition("\n## ")[0]
ROWS = re.findall(r"^\| (?!I want)([^|`]+) \| `(.+?)` \| (.+) \|$", SECTION, re.MULTILINE)
TREE = SECTION.partition("```text\n")[2].partition("```")[0]
PLACES = [line.split()[0] for line in TREE.splitlines()]
# No one asks what these are for.
PLAIN = {"README.md", "LICENSE", ".gitignore"}


def test_every_place_exists():
    assert len(PLACES) > 10 and len(set(PLACES)) == len(PLACES)
    for place in PLACES:
        assert (ROOT / place).is_dir() if place.endswith("/") else (ROOT / place).is_file(), place
    for path in re.findall(r"[\w.-]+\.(?:txt|toml|md|py)\b", TREE):
        assert (ROOT / path).exists() or any(place.endswith(path) for place in PLACES), path


def test_everything_has_a_place():
    parts = {f"tlkeras/{path.parent.name}/" for path in (ROOT / "tlkeras").glob("*/*.py")}
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}
    modules = {f"tlkeras/{path.name}" for path in (ROOT / "tlkeras").glob("[!_]*.py")}
    assert parts | scripts | modules <= set(PLACES)
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("only git knows what belongs to the repository")
    entries = {line.split("/")[0] for line in done.stdout.splitlines() if (ROOT / line).exists()}
    assert {entry for entry in entries - PLAIN if not re.search(rf"(?m)(^|\s){re.escape(entry)}", TREE)} == set()


@pytest.mark.parametrize(("wish", "file", "places"), ROWS, ids=[row[0] for row in ROWS])
def test_what_is_to_be_changed_is_in_its_file(wish, file, places):
    text = (ROOT / file).read_text(encoding="utf-8")
    names = re.findall(r"`(\w+)`", places)
    assert names
    for name in names:
        assert re.search(rf"(?m)^(def|class) {name}\b|^{name}\b.* = ", text), f"{file} has no {name}"


# For each wish of the map: a line of its file, and what somebody writes above it.
CHANGES = {
    "add a backbone": ("        _mobilenet_v2(1.0,", "        _mobilenet_v2(0.25, 1280, 248_768),\n"),
    "add an augmentation": ("    picture = Image.fromarray(pixels)\n", "    pixels = 255 - pixels\n"),
    "add a metric": ('        "right": right,\n', '        "wrong": len(true) - right,\n'),
    "give the model another head": (
        "    penalty = keras.regularizers.L2(l2) if l2 else None\n",
        '    x = layers.LayerNormalization(name="level")(x)\n',
    ),
    "add an option, or a choice": (
        "    batch_size: int = option(",
        '    mood: Literal["good", "bad"] = option("good", "how the pictures are looked at")\n',
    ),
    "read pictures from elsewhere": (
        '    if data == "digits":\n',
        '    if data.startswith("shelf:"):\n        return folders.find(Path("pictures", data[6:]), name=data)\n'
        '    if data == "digits":\n        raise UserError("No digits.")\n',
    ),
    "learn with another optimizer or rate": (
        '    if options.optimizer == "sgd":\n',
        '    if options.optimizer == "adam":\n        print("Lion")\n        return keras.optimizers.Lion(schedule)\n',
    ),
    "minimise another loss": (
        '    if task == "single_label":\n',
        '    if task == "single_label":\n        return {"loss": "categorical_focal_crossentropy", '
        '"metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")]}\n',
    ),
    "draw other curves": ("    if path:\n", '    figure.savefig(path.with_name("mine.svg"))\n'),
    "change what a run writes": ("    write_history(folder", '    write_json(folder / "note.json", ["mine"])\n'),
}


def test_each_wish_is_tried_below():
    assert [wish for wish, _, _ in ROWS] == list(CHANGES)


@pytest.fixture
def changed(tmp_path) -> Path:
    """A copy of the library and its scripts in which all wishes of the map are granted, each in its one file."""
    for folder in ("tlkeras", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for wish, file, _ in ROWS:
        line, above = CHANGES[wish]
        text = (ROOT / file).read_text(encoding="utf-8")
        assert text.count(line) >= 1, f"{file} has no line {line!r}"
        (tmp_path / file).write_text(text.replace(line, above + line, 1), encoding="utf-8")
    return tmp_path


def run(place: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(place)}
    done = subprocess.run([sys.executable, *command], cwd=place, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_changes_that_need_no_model(changed):
    """What TensorFlow is not needed for, in a few seconds."""
    assert "{good,bad}" in run(changed, "scripts/train.py", "--help")
    assert "MobileNetV2-0.25" in run(changed, "scripts/summary.py")
    code = "import numpy as np; from tlkeras.config import AugmentOptions; "
    code += "from tlkeras.data.augment import change; options = AugmentOptions(min_crop_area=1.0, color_jitter=0.0); "
    code += "print(change(np.full((2, 2, 3), 55, 'uint8'), np.zeros(10), options)[0, 0, 0])"
    assert run(changed, "-c", code) == "200\n"


@pytest.mark.slow
def test_changes_meet_in_one_run(changed):
    """The new backbone, head, option, source, metric, optimizer, loss, curve and file, each of which shows."""
    for label, level in (("dark", 40), ("light", 210)):
        (changed / "pictures" / "mine" / label).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (40, 40), (level + number, level, level)).save(
                changed / "pictures" / "mine" / label / f"{number}.png"
            )
    words = "scripts/train.py --data shelf:mine --backbone MobileNetV2-0.25 --weights none --image-size 32 --mood bad "
    words += "--optimizer adam --frozen-epochs 1 --finetune-epochs 1 --run-dir run"
    said = run(changed, *words.split())
    assert "Data: shelf:mine, 24 images" in said and "Lion" in said
    folder = changed / "run"
    assert {"mine.svg", "note.json"} <= {path.name for path in folder.iterdir()}
    assert yaml.safe_load((folder / "config.yaml").read_text())["mood"] == "bad"
    figures = json.loads((folder / "metrics.json").read_text())["test"]
    assert figures["wrong"] == figures["count"] - figures["right"]
    with (folder / "history.csv").open() as file:
        assert float(next(csv.DictReader(file))["loss"]) < 0.4  # cross-entropy of two classes begins at 0.69
    with zipfile.ZipFile(folder / "model.keras") as archive:
        model = archive.read("config.json").decode()
    assert '"MobileNetV2-0.25"' in model and '"level"' in model
