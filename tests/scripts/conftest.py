"""Made pictures, one trained run that all tests of the scripts share, and two ways to call a script."""

import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SCRIPTS = Path(__file__).parents[2] / "scripts"
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
# The smallest row of the table, so that a run takes seconds.
TINY = ("--backbone", "MobileNet-0.25", "--weights", "none", "--image-size", "32")
ONE_EPOCH = ("--frozen-epochs", "1", "--finetune-epochs", "1")


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
    """A folder of class folders with noisy 40 x 40 pictures of one colour each."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.array(COLOURS[name]) + rng.integers(-30, 30, (40, 40, 3))
            Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(folder / name / f"{number}.png")
    return folder


def start(script: str, *arguments: object, cwd: Path, **options) -> subprocess.Popen:
    """A script in a process of its own, as a user starts it, offline."""
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
    """`run_script("train.py", "--data", …, cwd=…)` in a process of its own."""

    def run(script: str, *arguments: object, cwd: Path) -> Answer:
        process = start(script, *arguments, cwd=cwd)
        out, err = process.communicate(timeout=300)
        return Answer(process.returncode, out, err)

    return run


@pytest.fixture
def start_script() -> Iterator[Callable[..., subprocess.Popen]]:
    """Like `run_script` without waiting for the end; what still runs when the test ends is killed."""
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
    """`call("predict.py", …)` runs a script in this process, in an empty folder: the same lines, without the wait."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)

    def run(script: str, *arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", [str(SCRIPTS / script), *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(SCRIPTS / script), run_name="__main__")
        out, err = capfd.readouterr()
        return Answer(stopped.value.code, out, err)

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Callable[[dict[str, int]], Path]:
    """`made({"red": 5})` draws a folder of class folders."""
    return lambda counts: draw(tmp_path_factory.mktemp("made") / "pictures", counts)


@pytest.fixture(scope="session")
def colours(made) -> Path:
    """Three classes of twelve pictures, and one file that is none; do not write into it."""
    folder = made(dict.fromkeys(COLOURS, 12))
    (folder / "red" / "broken.png").write_bytes(b"this is no picture")
    return folder


@pytest.fixture(scope="session")
def trained(colours, run_script, tmp_path_factory) -> TrainedRun:
    """A run of one epoch in each phase; do not write into it."""
    place = tmp_path_factory.mktemp("trained")
    answer = run_script("train.py", "--data", colours, *TINY, *ONE_EPOCH, "--run-dir", "runs/first", cwd=place)
    assert answer.code == 0, answer.err
    return TrainedRun(place / "runs" / "first", answer)


@pytest.fixture(scope="session")
def tiny_options() -> tuple[str, ...]:
    """Options that make any run a matter of seconds."""
    return (*TINY, *ONE_EPOCH)
