"""The command line: help, YAML files, the example that runs without options, the console command."""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import tlkeras
from tlkeras import __main__ as console_script
from tlkeras.cli import parse_config
from tlkeras.config.fields import check_values
from tlkeras.config.learning_curve import LearningCurveConfig
from tlkeras.config.pretrain import PretrainConfig
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))
DIGITS = ROOT / "configs" / "digits.yaml"
HEAVY = ("tensorflow", "keras", "sklearn", "matplotlib", "scipy")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_is_quick_and_loads_nothing_heavy(run_script, monkeypatch, tmp_path, script):
    monkeypatch.setenv("PYTHONPROFILEIMPORTTIME", "1")
    before = os.times()
    answer = run_script(script, "--help", cwd=tmp_path)
    assert answer.code == 0
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in answer.err.splitlines()}
    assert loaded and not loaded & set(HEAVY)
    after = os.times()
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    assert seconds < 1  # of the processor, as other programs may be running


def test_help_describes_every_option(call):
    text = " ".join(call("train.py", "--help").out.split())
    for entry in dataclasses.fields(TrainConfig):
        assert f"--{entry.name.replace('_', '-')}" in text
        assert " ".join(entry.metadata["help"].rstrip(")").split()) in text
    for words in ("{adam,adamw,sgd}", "(default: 32; from 1 to 65536)", "Backbone and head:"):
        assert words in text
    for words in (
        "classifier on your own images",
        "fraction of examples for validation",
        "examples per step",
        "--config FILE",
    ):
        assert words in text
    for noise in ("type:", "Literal", "null", "--hidden-units+"):
        assert noise not in text


def test_printed_config_can_be_read(call, tmp_path):
    arguments = ["--data", "pets", "--hidden-units", "[64,32]", "--head-learning-rate", "1e-5", "--unfreeze", "30%"]
    printed = call("train.py", *arguments, "--print_config")
    assert printed.code == 0 and printed.err == ""
    (tmp_path / "my.yaml").write_text(printed.out)
    config = parse_config(TrainConfig, None, ["--config", str(tmp_path / "my.yaml")])
    assert config == TrainConfig(data="pets", hidden_units=[64, 32], head_learning_rate=1e-5, unfreeze="30%")
    assert set(yaml.safe_load(printed.out)) == {entry.name for entry in dataclasses.fields(TrainConfig)}


@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_an_option_before_the_file_wins_too(tmp_path, form):
    (tmp_path / "my.yaml").write_text("data: pets\nseed: 3\nbatch_size: 8\n")
    words = ["--data", "birds", *form.format(tmp_path / "my.yaml").split(), "--seed", "4"]
    config = parse_config(TrainConfig, None, words)
    assert (config.data, config.seed, config.batch_size) == ("birds", 4, 8)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_predict_without_a_run_is_refused_in_a_sentence(call, words):
    answer = call("predict.py", *words)
    assert answer.code == 2 and answer.err == "predict.py: Nothing was given for RUN. See predict.py --help.\n"


def test_the_command_line_wins_over_the_file(tmp_path):
    (tmp_path / "my.yaml").write_text("data: pets\nbatch-size: 8\nseed: 3\noverwrite: true\n")
    config = parse_config(TrainConfig, None, ["--config", str(tmp_path / "my.yaml"), "--seed", "4"])
    assert (config.data, config.batch_size, config.seed, config.overwrite) == ("pets", 8, 4, True)


@pytest.mark.parametrize(
    ("words", "same"),
    [
        ("--model VGG16", {"backbone": "VGG16"}),
        ("--model=VGG16", {"backbone": "VGG16"}),
        ("--image_size 96 --batch_size=8", {"image_size": 96, "batch_size": 8}),
        ("--output-dir a_b", {"run_dir": "a_b"}),
        ("--epochs 3", {"frozen_epochs": 3, "finetune_epochs": 3}),
        ("--epochs=5,0 --seed 1", {"frozen_epochs": 5, "finetune_epochs": 0, "seed": 1}),
    ],
)
def test_short_names(words, same):
    assert parse_config(TrainConfig, None, ["--data", "my_pets", *words.split()]) == TrainConfig(data="my_pets", **same)


def test_short_names_of_other_commands():
    config = parse_config(PretrainConfig, None, ["--data", "pets", "--lr", "0.01", "--epochs", "3"])
    assert config == PretrainConfig(data="pets", learning_rate=0.01, epochs=3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lr", "0.1"), "Unknown option --lr. Did you mean --head-learning-rate or --finetune-learning-rate?"),
        (("--epochs", "1,2,3"), "--epochs was 1,2,3; give N for each phase, or N,M for phase 1 and phase 2."),
        (("--epochs", "many"), "--epochs was many; give N for each phase, or N,M for phase 1 and phase 2."),
        (("--epochs",), "--epochs was empty; give N for each phase, or N,M for phase 1 and phase 2."),
    ],
)
def test_short_names_that_do_not_say_enough(call, words, said):
    answer = call("train.py", "--data", "pets", *words)
    assert answer.code == 2 and answer.err.startswith(f"train.py: {said}")


def test_the_config_of_a_run_is_for_a_new_run(tmp_path, capsys):
    """Unless it is to be replaced or resumed, or another folder is given."""
    file = tmp_path / "run" / "config.yaml"
    file.parent.mkdir()
    file.write_text(yaml.safe_dump({"data": "pets", "run_dir": str(file.parent), "overwrite": False}))
    read = lambda *words: parse_config(TrainConfig, None, ["--config", str(file), *words]).run_dir  # noqa: E731
    assert read() is None and f"Note: {file.parent} stays" in capsys.readouterr().out
    assert [read("--resume"), read("--overwrite"), read("--run-dir", "x")] == [str(file.parent), str(file.parent), "x"]
    other = tmp_path / "other.yaml"
    shutil.copy(file, other)
    assert parse_config(TrainConfig, None, ["--config", str(other)]).run_dir == str(file.parent)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("config_class", [TrainConfig, LearningCurveConfig])
def test_without_options_the_example_runs(config_class, capsys):
    config = parse_config(config_class, None, [])
    assert capsys.readouterr().out == "No data were given: running the example, --config configs/digits.yaml.\n"
    assert config == parse_config(config_class, None, ["--config", str(DIGITS)])
    assert config == config_class(**yaml.safe_load(DIGITS.read_text()))
    assert (config.data, config.backbone, config.weights) == ("digits", "MobileNetV2-0.35", "bundled")


def test_the_example_can_be_resumed_and_put_elsewhere(capsys):
    for words in (["--run-dir", "x", "--resume"], ["--run-dir=x", "--overwrite"]):
        config = parse_config(TrainConfig, None, words)
        assert (config.data, config.run_dir, config.resume) == ("digits", "x", "--resume" in words)
    with pytest.raises(UserError, match="Nothing was given for --data"):
        parse_config(TrainConfig, None, ["--run-dir", "x", "--seed", "1"])


def test_pretraining_has_no_example():
    with pytest.raises(UserError, match="Nothing was given for --data"):
        parse_config(PretrainConfig, None, [])


def test_with_any_option_the_defaults_are_those_of_the_help():
    config = parse_config(TrainConfig, None, ["--data", "digits", "--seed", "1"])
    assert config == TrainConfig(data="digits", seed=1)


def test_the_command_line_wins_over_the_example():
    config = parse_config(TrainConfig, None, ["--config", str(DIGITS), "--weights", "none", "--image-size", "null"])
    assert (config.backbone, config.weights, config.image_size) == ("MobileNetV2-0.35", "none", None)


@pytest.mark.parametrize("form", ["--config {}", "--config={}"])
def test_config_files_of_earlier_versions(tmp_path, form):
    """Options that were renamed are read by their old names, also where the path of the file is another option too."""
    file = tmp_path / "old.yaml"
    file.write_text(
        "data: pets\nfrozen_rate: 0.01\nfinetune_rate: 0.002\nstage-decay: 0.9\nvalidation_share: 0.2\n"
        "test_share: 0.1\nhidden: [8]\ntokens: 64\ncolour: 0.1\ncrop: 0.5\nmemory: 2.0\ncache_disk: 3.0\nseed: 3\n"
    )
    config = parse_config(TrainConfig, None, [*form.format(file).split(), "--seed", "4", "--run-dir", str(file)])
    assert config == TrainConfig(
        data="pets", head_learning_rate=0.01, finetune_learning_rate=0.002, layer_decay=0.9, validation_split=0.2,
        test_split=0.1, hidden_units=[8], sequence_length=64, color_jitter=0.1, min_crop_area=0.5, memory_gb=2.0,
        cache_gb=3.0, seed=4, run_dir=str(file),
    )  # fmt: skip


def test_old_names_of_the_other_commands(tmp_path):
    file = tmp_path / "old.yaml"
    file.write_text("data: pets\nrate: 0.01\naverage: 0.1\nabout: Pets at home.\n")
    config = parse_config(PretrainConfig, None, ["--config", str(file)])
    assert config == PretrainConfig(data="pets", learning_rate=0.01, ema=0.1, data_description="Pets at home.")
    file.write_text("data: pets\npercents: [10, 100]\nscratch_epochs: 7\nscratch_steps: 8\n")
    curve = parse_config(LearningCurveConfig, None, ["--config", str(file)])
    assert (curve.train_sizes, curve.all_layers_epochs, curve.all_layers_steps) == ([10, 100], 7, 8)


def test_a_mistake_under_an_old_name_names_the_file(call, tmp_path):
    (tmp_path / "old.yaml").write_text("data: pets\nfrozen_rate: quick\n")
    answer = call("train.py", "--config", "old.yaml")
    assert answer.code == 2
    assert "head_learning_rate in old.yaml was quick; it must be a number from 1e-09 to 10.0." in answer.err


def test_old_names_are_not_options_of_the_command_line(call):
    answer = call("train.py", "--data", "pets", "--frozen-rate", "0.1")
    assert answer.code == 2 and "Unknown option --frozen-rate." in answer.err


@pytest.fixture
def console(monkeypatch, capfd, tmp_path):
    """Return `console("train", …)`, which is `tlkeras train …` in this process: its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/tlkeras", *arguments])
        code = 0
        try:
            console_script.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capfd.readouterr()

    yield run
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_console_help_lists_the_commands(console, arguments):
    code, out, err = console(*arguments)
    assert (code, err) == (0, "")
    assert out.startswith("usage: tlkeras COMMAND")
    shown = [line.split()[0] for line in out.splitlines() if line.startswith("  ")]
    known = [
        "cache", "check-data", "choose", "clean", "compare", "doctor", "drift", "explain", "export", "learning-curve",
        "pretrain", "serve", "summary",
    ]  # fmt: skip
    assert shown == ["train", "evaluate", "predict", *known]
    assert all(len(line) <= 80 and not line.endswith(".") for line in out.splitlines()[1:])  # the usage has an ellipsis
    assert {f"{name.replace('-', '_')}.py" for name in shown} <= set(SCRIPTS)


def test_console_runs_a_command(console):
    code, out, _ = console("summary")
    assert code == 0 and "ConvNeXtXLarge" in out
    code, out, _ = console("--version")
    assert code == 0 and out == f"tlkeras {tlkeras.__version__}\n"
    code, out, _ = console("train", "--help")
    assert code == 0 and out.startswith("usage: tlkeras train [OPTION VALUE]...")


def test_it_is_a_module_too(tmp_path):
    command = [sys.executable, "-m", "tlkeras", "predict"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("tlkeras predict: Nothing was given for RUN.")


def test_console_mistakes(console):
    known = " ".join(console_script.NAMES)
    assert console("trian") == (
        2, "", f"tlkeras trian: There is no command trian. Did you mean train? Known commands: {known}.\n"
    )  # fmt: skip
    code, _, err = console("train", "--data", "nowhere")
    assert code == 2 and err.startswith("tlkeras train: There is no folder or file nowhere.")
    code, _, err = console("train", "--lr", "3")
    assert code == 2 and err.startswith("tlkeras train: Unknown option --lr. Did you mean --head-learning-rate or ")


@pytest.mark.parametrize("name", [entry.name for entry in dataclasses.fields(TrainConfig)])
def test_every_default_is_accepted_and_every_range_is_checked(name):
    entry = next(entry for entry in dataclasses.fields(TrainConfig) if entry.name == name)
    config = TrainConfig(data="pets")
    config.check()
    for bound, step in (("min", -1), ("max", 1)):
        if entry.metadata[bound] is None:
            continue
        limit = entry.metadata[bound]
        check_values(dataclasses.replace(config, **{name: [limit] if name == "hidden_units" else limit}))
        beyond = [limit + step] if name == "hidden_units" else limit + step
        with pytest.raises(UserError, match=f"--{name.replace('_', '-')} was"):
            dataclasses.replace(config, **{name: beyond}).check()


@pytest.mark.parametrize(("stop", "name", "code"), [("SIGINT", "Ctrl-C", 130), ("SIGTERM", "SIGTERM", 143)])
def test_a_signal_in_a_destructor_is_repeated(stop, name, code):
    """Python drops what is raised while it deletes an object, such as the models of the run before."""
    source = f"""
import os, signal, time
from tlkeras.cli import run_main

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

run_main(main)"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (code, f"-c: stopped by {name}; nothing was written.\n")
