"""Generated images, one trained run that all tests of the scripts share, and two ways to call a script."""

import dataclasses
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"
COLORS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
# The smallest backbone of the table, so that a run takes seconds.
TINY = ("--backbone", "MobileNet-0.25", "--weights", "none", "--image-size", "32")
ONE_EPOCH = ("--frozen-epochs", "1", "--finetune-epochs", "1", "--linear-probe", "never")


@dataclass(frozen=True)
class Answer:
    """What a script printed, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class TrainedRun:
    """A run's folder, and what the script said while it trained."""

    path: Path
    answer: Answer


def draw(folder: Path, counts: dict[str, int]) -> Path:
    """Write a folder of class folders with noisy 40 x 40 images of one color each."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.array(COLORS[name]) + rng.integers(-30, 30, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / name / f"{number}.png")
    return folder


def start(script: str, *arguments: object, cwd: Path, **options) -> subprocess.Popen:
    """Start a script in a process of its own, as a user does, offline."""
    offline = {
        "KERAS_HOME": str(cwd / "keras"),
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    command = [sys.executable, str(SCRIPTS / script), *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(command, cwd=cwd, env=os.environ | offline, text=True, **pipes)


@pytest.fixture(scope="session")
def run_script() -> Callable[..., Answer]:
    """Return `run_script("train.py", "--data", …, cwd=…)`, which runs a script in a process of its own."""

    def run(script: str, *arguments: object, cwd: Path) -> Answer:
        process = start(script, *arguments, cwd=cwd)
        out, err = process.communicate(timeout=300)
        return Answer(process.returncode, out, err)

    return run


@pytest.fixture
def start_script() -> Iterator[Callable[..., subprocess.Popen]]:
    """Return `run_script` without waiting for the end; what still runs when the test ends is killed."""
    processes = []

    def begin(script: str, *arguments: object, cwd: Path, **options) -> subprocess.Popen:
        processes.append(start(script, *arguments, cwd=cwd, **options))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def call(monkeypatch, capfd, tmp_path) -> Iterator[Callable[..., Answer]]:
    """Return `call("predict.py", …)`, which runs a script in this process, in an empty folder; it prints the same."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(script: str, *arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / script), *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        out, err = capfd.readouterr()
        return Answer(stopped.value.code, out, err)

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Callable[[dict[str, int]], Path]:
    """Return `made({"red": 5})`, which writes a folder of class folders."""
    return lambda counts: draw(tmp_path_factory.mktemp("made") / "images", counts)


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[..., Path]:
    """Return `once("name", make)`, a folder that `make(folder)` fills, once for all processes of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make_once(name: str, make: Callable[[Path], None]) -> Path:
        folder, done = base / name, base / f"{name}.done"
        with FileLock(base / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                done.touch()
        return folder

    return make_once


@pytest.fixture(scope="session")
def colors(once) -> Path:
    """Return a folder of three classes of twelve images, and one file that is none; do not write into it."""

    def make(folder: Path) -> None:
        draw(folder / "images", dict.fromkeys(COLORS, 12))
        (folder / "images" / "red" / "broken.png").write_bytes(b"this is no image")

    return once("colors", make) / "images"


@pytest.fixture(scope="session")
def trained(colors, run_script, once) -> TrainedRun:
    """Return a run of one epoch in each phase; do not write into it."""

    def make(folder: Path) -> None:
        answer = run_script("train.py", "--data", colors, *TINY, *ONE_EPOCH, "--run-dir", "runs/first", cwd=folder)
        assert answer.code == 0, answer.err
        (folder / "answer.json").write_text(json.dumps(dataclasses.asdict(answer)))

    folder = once("trained", make)
    return TrainedRun(folder / "runs" / "first", Answer(**json.loads((folder / "answer.json").read_text())))


@pytest.fixture(scope="session")
def tiny_options() -> tuple[str, ...]:
    """Return options that make any run a matter of seconds."""
    return (*TINY, *ONE_EPOCH)
