"""predict.py --output: results come as they are made, and a killed program is resumed without a gap or a copy."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkeras.errors import UserError
from tlkeras.run import predict_file
from tlkeras.run.predict import Source, as_csv, predict
from tlkeras.run.predict_file import predict_to_file, read_list
from tlkeras.run.train import train

SCRIPT = Path(__file__).parents[2] / "scripts" / "predict.py"
OPTIONS = {
    "backbone": "MobileNet-0.25",
    "weights": "none",
    "image_size": 32,
    "epochs": (1, 0),
    "views": 1,
    "cache_gb": 0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Return the folder of a run of two classes."""
    images = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3), "uint8")
    folder = tmp_path_factory.mktemp("predict") / "run"
    return Path(train(data=(images, np.arange(40) % 2), run_dir=folder, **OPTIONS))


@pytest.fixture
def listed(tmp_path, monkeypatch, noise) -> list[str]:
    """Return the lines of `list.txt`: ten images, one damaged file, and one that is not there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict_file, "CHUNK", 4)
    names = [f"{number}.png" for number in range(10)]
    for name, pixels in zip(names, noise(10, 32), strict=True):
        Image.fromarray(pixels).save(name)
    Path("damaged.png").write_bytes(b"nothing")
    names[5:5] = ["damaged.png", "gone.png"]
    Path("list.txt").write_text("\n".join(names) + "\n\n")
    return names


def test_a_list_becomes_the_csv_of_the_terminal(run, listed):
    assert predict_to_file(run, read_list("list.txt"), Path("out.csv"), top_k=1) == (12, 2)
    with Path("out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == listed
    assert {row["path"]: row["error"] for row in rows if row["error"]} == {
        "damaged.png": "not a valid JPEG, PNG, WebP, GIF, BMP or TIFF image", "gone.png": "no such file or directory"
    }  # fmt: skip
    expected = as_csv(predict(run, ["0.png", "1.png"], top_k=1)).splitlines()
    got = Path("out.csv").read_text().splitlines()[:3]
    assert [line.split(",")[:3] for line in got] == [line.split(",")[:3] for line in expected]


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_stop_between_the_result_and_its_note_costs_one_chunk(run, listed, monkeypatch, name):
    """The worst moment: rows are written, half a line too, and the note beside them does not know of them."""
    if name == "out.parquet":
        pytest.importorskip("pyarrow")
    predict_to_file(run, read_list("list.txt"), Path("whole" + Path(name).suffix))
    notes = []

    def stop(file, text):
        notes.append(text)
        if len(notes) == 3:
            raise KeyboardInterrupt
        file.write_text(text)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(predict_file, "write_atomic", stop)
        predict_to_file(run, read_list("list.txt"), Path(name))
    if name == "out.csv":
        with Path(name).open("a") as file:
            file.write("9.png,1,0,0.5")
    with pytest.raises(UserError, match="exists already"):
        predict_to_file(run, read_list("list.txt"), Path(name))
    with pytest.raises(UserError, match="was started with other files"):
        predict_to_file(run, reversed(list(read_list("list.txt"))), Path(name), resume=True)
    assert predict_to_file(run, read_list("list.txt"), Path(name), resume=True) == (12, 2)
    assert content(Path(name)) == content(Path("whole" + Path(name).suffix))
    assert predict_to_file(run, read_list("list.txt"), Path(name), resume=True) == (12, 2)  # nothing is left to do
    Path(name).rename(f"moved-{name}")
    with pytest.raises(UserError, match=f"{name} has less than .{name}.progress says was written"):
        predict_to_file(run, read_list("list.txt"), Path(name), resume=True)


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
def test_a_number_of_labels_below_one_is_refused(run, listed, name):
    with pytest.raises(UserError, match="--top-k was 0"):
        predict_to_file(run, read_list("list.txt"), Path(name), top_k=0)


def test_names_that_are_no_text(run, listed):
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    Path("0.png").rename(name)
    assert predict_to_file(run, [Source(name, Path(name))], Path("out.csv")) == (1, 0)
    assert "caf\\udce9.png,1," in Path("out.csv").read_text()


def test_a_stop_says_how_to_go_on(run, listed, monkeypatch):
    chunks = []

    def stop(*arguments):
        chunks.append(arguments)
        if len(chunks) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    real = predict_file.predict_chunk
    monkeypatch.setattr(predict_file, "predict_chunk", stop)
    with pytest.raises(KeyboardInterrupt, match="has what was predicted; the same command with --resume continues"):
        predict_to_file(run, read_list("list.txt"), Path("out.csv"))
    assert len(Path("out.csv").read_text().splitlines()) == 9  # a header, and two classes of four images


def content(path: Path) -> object:
    if path.suffix == ".csv":
        return path.read_text()
    import pyarrow.parquet as pq

    assert [part.name for part in sorted(path.glob("*.parquet"))] == [f"part-{n:012d}.parquet" for n in (0, 4, 8)]
    return pq.read_table(path).to_pylist()


def test_what_cannot_be_written_is_refused(run, listed, tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"ends in \.csv or \.parquet"):
        predict_to_file(run, read_list("list.txt"), Path("out.json"))
    with pytest.raises(UserError, match=r"--from-file nowhere\.txt cannot be read: no such file"):
        predict_to_file(run, read_list("nowhere.txt"), Path("out.csv"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match="pip install pyarrow"):
        predict_to_file(run, read_list("list.txt"), Path("out.parquet"))


@pytest.mark.slow
def test_a_killed_command_is_resumed(run, listed):
    names = [name for name in listed if name != "gone.png"] * 400
    Path("list.txt").write_text("\n".join(names))
    command = [sys.executable, SCRIPT, run, "--from-file", "-", "--output", "out.csv", "--top-k", "1"]
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}
    with Path("list.txt").open() as lines:
        process = subprocess.Popen(command, stdin=lines, env=environment)
        note = Path(".out.csv.progress")
        while process.poll() is None and not (note.exists() and json.loads(note.read_text())["count"]):
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < json.loads(note.read_text())["count"] < len(names)
    answer = subprocess.run([*command, "--resume"], input="\n".join(names), env=environment, text=True,
                            capture_output=True)  # fmt: skip
    assert "Predicted 4,400 images, of which 400 cannot be read: out.csv" in answer.stdout
    with Path("out.csv").open() as file:
        assert [row["path"] for row in csv.DictReader(file)] == names
