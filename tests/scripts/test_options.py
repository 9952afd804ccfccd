"""The command line: help, YAML files, defaults of the digits."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tlkeras.cli import parse_config
from tlkeras.config import DIGITS_DEFAULTS, TrainConfig
from tlkeras.errors import UserError

SCRIPTS = sorted(path.name for path in (Path(__file__).parents[2] / "scripts").glob("*.py"))
HEAVY = ("tensorflow", "keras", "sklearn", "matplotlib", "scipy")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick_and_loads_nothing_heavy(run_script, monkeypatch, tmp_path, script):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    answer = run_script(script, "--help", cwd=tmp_path)
    assert answer.code == 0
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in answer.err.splitlines()}
    assert loaded and not loaded & set(HEAVY)
    monkeypatch.delenv("PYTHONPROFILEIMPORTTIME")
    assert any(seconds_of(run_script, script, tmp_path) < 1 for _ in range(6))  # others may be at work


def seconds_of(run_script, script, place) -> float:
    begin = time.monotonic()
    run_script(script, "--help", cwd=place)
    return time.monotonic() - begin


def test_help_says_what_every_option_takes(call):
    text = " ".join(call("train.py", "--help").out.split())
    for entry in dataclasses.fields(TrainConfig):
        assert f"--{entry.name.replace('_', '-')}" in text
        assert " ".join(entry.metadata["help"].rstrip(")").split()) in text
    for words in ("{adam,adamw,sgd}", "(default: 32; from 1 to 65536)", "Which backbone, and the head on top of it:"):
        assert words in text
    for words in ("your own images, texts or sounds", "share of the examples that is judged", "examples in a step"):
        assert words in text
    for noise in ("type:", "Literal", "null", "--hidden-units+"):
        assert noise not in text


def test_what_is_printed_can_be_read(call, tmp_path):
    arguments = ["--data", "pets", "--hidden-units", "[64,32]", "--head-learning-rate", "1e-5", "--unfreeze", "30%"]
    printed = call("train.py", *arguments, "--print_config")
    assert printed.code == 0 and printed.err == ""
    (tmp_path / "my.yaml").write_text(printed.out)
    config = parse_config(TrainConfig, None, ["--config", str(tmp_path / "my.yaml")])
    assert config == TrainConfig(data="pets", hidden_units=[64, 32], head_learning_rate=1e-5, unfreeze="30%")
    assert set(yaml.safe_load(printed.out)) == {entry.name for entry in dataclasses.fields(TrainConfig)}


def test_the_command_line_wins_over_the_file(tmp_path):
    (tmp_path / "my.yaml").write_text("data: pets\nbatch-size: 8\nseed: 3\noverwrite: true\n")
    config = parse_config(TrainConfig, None, ["--config", str(tmp_path / "my.yaml"), "--seed", "4"])
    assert (config.data, config.batch_size, config.seed, config.overwrite) == ("pets", 8, 4, True)


@pytest.mark.parametrize(
    ("arguments", "text", "digits"),
    [
        ([], "", True),
        (["--data", "digits"], "", True),
        (["--data=digits", "--seed", "1"], "", True),
        (["--data", "pets"], "", False),
        (["--data", "pets", "--run-dir", "digits"], "", False),
        ([], "seed: 3", True),
        ([], "data: digits", True),
        ([], "data: pets", False),
        (["--data", "digits"], "data: pets", True),
        (["--data", "pets"], "data: digits", False),
    ],
)
def test_digits_bring_their_own_defaults(tmp_path, arguments, text, digits):
    if text:
        (tmp_path / "my.yaml").write_text(text)
        arguments = [*arguments, "--config", str(tmp_path / "my.yaml")]
    config = parse_config(TrainConfig, None, arguments)
    expected = DIGITS_DEFAULTS["backbone"] if digits else TrainConfig().backbone
    assert config.backbone == expected
    assert config.weights == ("bundled" if digits else "imagenet")


def test_what_is_given_wins_over_the_defaults_of_the_digits():
    config = parse_config(TrainConfig, None, ["--backbone", "ResNet50", "--image-size", "64"])
    assert (config.data, config.backbone, config.image_size, config.weights) == ("digits", "ResNet50", 64, "none")


def test_another_backbone_sees_the_digits_at_a_size_of_its_own(tmp_path):
    assert parse_config(TrainConfig, None, ["--backbone", "InceptionV3"]).image_size is None
    (tmp_path / "my.yaml").write_text("backbone: InceptionV3")
    assert parse_config(TrainConfig, None, ["--config", str(tmp_path / "my.yaml")]).image_size is None
    assert parse_config(TrainConfig, None, []).image_size == 64


@pytest.mark.parametrize("name", [entry.name for entry in dataclasses.fields(TrainConfig)])
def test_every_default_is_accepted_and_every_range_is_kept(name):
    entry = next(entry for entry in dataclasses.fields(TrainConfig) if entry.name == name)
    TrainConfig().check()
    for bound, step in (("least", -1), ("most", 1)):
        if entry.metadata[bound] is None:
            continue
        limit = entry.metadata[bound]
        dataclasses.replace(TrainConfig(), **{name: [limit] if name == "hidden" else limit})
        wrong = dataclasses.replace(TrainConfig(), **{name: [limit + step] if name == "hidden" else limit + step})
        with pytest.raises(UserError, match=f"--{name.replace('_', '-')} was"):
            wrong.check()


@pytest.mark.parametrize(("stop", "name", "code"), [("SIGINT", "Ctrl-C", 130), ("SIGTERM", "SIGTERM", 143)])
def test_a_stop_that_python_drops_comes_again(stop, name, code):
    """It comes while an object is being deleted, twice, as when Keras forgets the models of the trial before."""
    source = f"""
import os, signal, time
from tlkeras.cli import program

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts the tests in the background ignores it

class Held:
    def __del__(self):
        os.kill(os.getpid(), signal.{stop})
        time.sleep(0.01)

def main():
    for _ in range(2):
        Held()
    for _ in range(3000):
        time.sleep(0.01)

program(main)"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (code, f"-c: stopped by {name}; nothing was written.\n")
