"""The README's table of what to change where holds, each wish in one file; the tree of docs/design.md names all."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from PIL import Image

ROOT = Path(__file__).parents[1]
SECTION = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## Where to change what\n")[2]
SECTION = SECTION.partition("\n## ")[0]
ROWS = re.findall(r"^\| (?!I want)([^|`]+) \| `(.+?)` \| (.+) \|$", SECTION, re.MULTILINE)
DESIGN = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
TREE = DESIGN.partition("```text\n")[2].partition("```")[0]
PATHS = [line.split()[0] for line in TREE.splitlines()]
# No one asks what these are for.
PLAIN = {"README.md", "LICENSE", ".gitignore"}


def test_every_path_of_the_tree_exists():
    assert len(PATHS) > 10 and len(set(PATHS)) == len(PATHS)
    for path in PATHS:
        assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file(), path
    for name in re.findall(r"[\w.-]+\.(?:txt|toml|md|py)\b", TREE):
        assert (ROOT / name).exists() or any(path.endswith(name) for path in PATHS), name


def test_everything_is_in_the_tree():
    parts = {f"tlkeras/{path.parent.name}/" for path in (ROOT / "tlkeras").glob("*/*.py")}
    scripts = {f"scripts/{path.name}" for path in (ROOT / "scripts").glob("*.py")}
    modules = {f"tlkeras/{path.name}" for path in (ROOT / "tlkeras").glob("[!_]*.py")}
    assert parts | scripts | modules <= set(PATHS)
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:
        pytest.skip("only git knows what belongs to the repository")
    entries = {line.split("/")[0] for line in done.stdout.splitlines() if (ROOT / line).exists()}
    assert {entry for entry in entries - PLAIN if not re.search(rf"(?m)(^|\s){re.escape(entry)}", TREE)} == set()


def test_the_lines_that_serve_a_model_turn_photos_of_phones_upright(tmp_path, monkeypatch):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"```python\n(import keras\n.*?)```", readme, re.DOTALL)[1]
    turned, exif = Image.new("RGB", (40, 30), "red"), Image.Exif()
    turned.paste("blue", (0, 0, 20, 30))
    exif[0x0112] = 6  # the left half is the upper one
    turned.save(tmp_path / "ant.jpg", exif=exif)
    monkeypatch.chdir(tmp_path)
    import keras

    monkeypatch.setattr(keras.models, "load_model", lambda path: SimpleNamespace(predict=lambda batch: batch))
    names: dict = {}
    exec(lines, names)
    (pixels,) = names["probabilities"]
    assert pixels.shape == (40, 30, 3)
    assert pixels[:18, :, 2].min() > 200 and pixels[22:, :, 0].min() > 200


def test_what_is_to_be_changed_is_in_its_file():
    for wish, file, where in ROWS:
        text = (ROOT / file).read_text(encoding="utf-8")
        names = re.findall(r"`(\w+)`", where)
        assert names, wish
        for name in names:
            assert re.search(rf"(?m)^(def|class) {name}\b|^{name}\b.* = ", text), f"{file} has no {name}"


# For each wish of the table: a line of its file, and what somebody writes above it.
CHANGES = {
    "add a backbone": ("        _mobilenet_v2(1.0,", "        _mobilenet_v2(0.25, 1280, 248_768),\n"),
    "add an augmentation": ("    image = Image.fromarray(pixels)\n", "    pixels = 255 - pixels\n"),
    "add a metric": (
        '        values["correct"] = correct["accuracy"]\n',
        '        values["wrong"] = count - correct["accuracy"]\n',
    ),
    "give the model another head": (
        "    penalty = keras.regularizers.L2(l2) if l2 else None\n",
        '    x = layers.LayerNormalization(name="level")(x)\n',
    ),
    "add an option, or a choice": (
        "    batch_size: int = option(",
        '    mood: Literal["good", "bad"] = option("good", "the mood in which it trains")\n',
    ),
    "read images from elsewhere": (
        '    if data == "digits":\n',
        '    if data.startswith("shelf-"):\n        return folder.find(Path("images", data[6:]), name=data)\n'
        '    if data == "digits":\n        raise UserError("No digits.")\n',
    ),
    "train with another optimizer or learning rate": (
        '    if options.optimizer == "sgd":\n',
        '    if options.optimizer == "adam":\n        print("Lion")\n        return keras.optimizers.Lion(schedule)\n',
    ),
    "minimize another loss": (
        '    if task == "single_label":\n',
        '    if task == "single_label":\n        return {"loss": "categorical_focal_crossentropy", '
        '"metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")]}\n',
    ),
    "plot other curves": ("    if path:\n", '    figure.savefig(path.with_name("mine.svg"))\n'),
    "change what a run writes": (
        '    write_table(folder / "history.csv"',
        '    write_json(folder / "note.json", ["mine"])\n',
    ),
    "unfreeze more, or otherwise": (
        "    backbone.trainable = first < len(backbone.layers)\n",
        '    if unfreeze == "all":\n        first = 5\n        print("The stem stays frozen.")\n',
    ),
}


def test_each_wish_is_tried_below():
    assert [wish for wish, _, _ in ROWS] == list(CHANGES)


@pytest.fixture
def changed(tmp_path) -> Path:
    """Return a copy of the library and its scripts in which all wishes are granted, each in its one file."""
    for folder in ("tlkeras", "scripts"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for wish, file, _ in ROWS:
        line, above = CHANGES[wish]
        text = (ROOT / file).read_text(encoding="utf-8")
        assert text.count(line) >= 1, f"{file} has no line {line!r}"
        (tmp_path / file).write_text(text.replace(line, above + line, 1), encoding="utf-8")
    return tmp_path


def run(folder: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(folder)}
    done = subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_changes_that_need_no_model(changed):
    """Those without TensorFlow, in a few seconds."""
    assert "{good,bad}" in run(changed, "scripts/train.py", "--help")
    assert "MobileNetV2-0.25" in run(changed, "scripts/summary.py")
    code = "import numpy as np; from tlkeras.config.train import AugmentOptions; "
    code += "from tlkeras.data.augment import augment_image; pixels = np.full((2, 2, 3), 55, 'uint8'); "
    code += "options = AugmentOptions(min_crop_area=1.0, color_jitter=0.0); "
    code += "print(augment_image(pixels, np.zeros(10), options)[0, 0, 0])"
    assert run(changed, "-c", code) == "200\n"


@pytest.mark.slow
def test_changes_meet_in_one_run(changed):
    """The new backbone, head, option, source, metric, optimizer, loss, plot, file and frozen layers all show."""
    for label, level in (("dark", 40), ("light", 210)):
        (changed / "images" / "mine" / label).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (40, 40), (level + number, level, level)).save(
                changed / "images" / "mine" / label / f"{number}.png"
            )
    words = "scripts/train.py --data shelf-mine --backbone MobileNetV2-0.25 --weights none --image-size 32 --mood bad "
    words += "--optimizer adam --frozen-epochs 1 --finetune-epochs 1 --run-dir run"
    output = run(changed, *words.split())
    assert "Data: shelf-mine, 24 images" in output and "Lion" in output and "The stem stays frozen." in output
    folder = changed / "run"
    assert {"mine.svg", "note.json"} <= {path.name for path in folder.iterdir()}
    assert yaml.safe_load((folder / "config.yaml").read_text())["mood"] == "bad"
    metrics = json.loads((folder / "metrics.json").read_text())["test"]
    assert metrics["wrong"] == metrics["count"] - metrics["correct"]
    with (folder / "history.csv").open() as file:
        assert float(next(csv.DictReader(file))["loss"]) < 0.4  # cross-entropy of two classes starts at 0.69
    with zipfile.ZipFile(folder / "model.keras") as archive:
        model = archive.read("config.json").decode()
    assert '"MobileNetV2-0.25"' in model and '"level"' in model
