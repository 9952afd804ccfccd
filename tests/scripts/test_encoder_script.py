"""Runs on a KerasHub encoder, from the options to predictions where the preset is gone."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml


@pytest.fixture(scope="session")
def reviews(tmp_path_factory) -> Path:
    """Write two classes of twenty-four short texts, each with one word that tells its class."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("reviews")
    for name, words in (("negative", ["awful", "boring", "dull"]), ("positive", ["lovely", "great", "fine"])):
        (folder / name).mkdir()
        for index in range(24):
            text = [*rng.choice(["the", "film", "was", "a", "story"], 5), rng.choice(words)]
            (folder / name / f"{index}.txt").write_text(" ".join(rng.permutation(text)))
    return folder


@pytest.fixture
def preset(tmp_path) -> str:
    """Save BERT of two layers, 16 wide, with the words of the reviews as its vocabulary; return its folder."""
    keras_hub = pytest.importorskip("keras_hub")
    words = ["the", "film", "was", "a", "story", "awful", "boring", "dull", "lovely", "great", "fine"]
    tokenizer = keras_hub.tokenizers.BertTokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])
    size = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 16}
    folder = str(tmp_path / "preset")
    keras_hub.models.BertBackbone(vocabulary_size=tokenizer.vocabulary_size(), **size).save_to_preset(folder)
    tokenizer.save_to_preset(folder)
    return folder


def without_kerashub(monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "keras_hub" else find(name, *rest)
    )


OPTIONS = ("--frozen-epochs", "1", "--batch-size", "8", "--run-dir", "run")


@pytest.mark.slow
def test_train_evaluate_and_predict_without_the_preset(run_script, call, reviews, preset, tmp_path, monkeypatch):
    backbone, more = f"kerashub:{preset}", ("--finetune-epochs", "2", "--sequence-length", "10")
    answer = run_script("train.py", "--data", reviews, "--backbone", backbone, *OPTIONS, *more, cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.err == "" and "at 10 tokens, weights of the preset" in answer.out
    assert "Features (pooled and below transformer_layer_1)" in answer.out
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["backbone"], config["weights"], config["unfreeze"]) == (backbone, "preset", "transformer_layer_1")
    shutil.rmtree(preset)
    evaluated = run_script("evaluate.py", "run", cwd=tmp_path)
    assert evaluated.code == 0 and "Test:" in evaluated.out, evaluated.err
    predicted = run_script("predict.py", "run", reviews / "positive" / "1.txt", "--json", cwd=tmp_path)
    assert predicted.code == 0 and len(json.loads(predicted.out)) == 1, predicted.err
    stages = run_script("summary.py", "run", cwd=tmp_path)
    assert stages.code == 0 and "transformer_layer_1*" in stages.out, stages.err
    without_kerashub(monkeypatch)
    refused = call("predict.py", "run", reviews / "positive" / "1.txt")
    assert refused.code == 2 and refused.err.endswith("pip install keras-hub tensorflow-text.\n")


@pytest.mark.slow
def test_an_encoder_from_scratch(run_script, reviews, tmp_path):
    pytest.importorskip("keras_hub")
    arguments = ("--data", reviews, "--backbone", "kerashub:bert_tiny", "--weights", "none", "--finetune-epochs", "25")
    answer = run_script("train.py", *arguments, *OPTIONS, cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert "nothing is transferred" in answer.out
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backbone", "kerashub:nowhere/bert"), "there is no such folder"),
        (("--backbone", "kerashub:."), "config.json is missing or damaged"),
        (("--backbone", "kerashub:bert_tiny"), "it has no pretrained weights. Give --weights none"),
        (("--backbone", "kerashub:bert_tiny", "--weights", "bundled"), "has its own (preset), or random ones (none)"),
        (
            ("--backbone", "kerashub:bert_tiny", "--weights", "none", "--unfreeze", "conv4"),
            "There is no stage of kerashub:",
        ),
        (
            ("--backbone", "kerashub:bert_tiny", "--weights", "none", "--pixel-range", "0..1"),
            "it is for hub only, and the backbone is kerashub:bert_tiny",
        ),
        (
            ("--backbone", "kerashub:bert_tiny", "--weights", "none", "--sequence-length", "2"),
            "--sequence-length was 2",
        ),
        (
            ("--backbone", "kerashub:bert_tiny", "--weights", "none", "--sequence-length", "513"),
            "takes 512 tokens at most",
        ),
        (("--backbone", "PRESET", "--sequence-length", "17"), "takes 16 tokens at most"),
        (("--backbone", "kerashub:"), "without a preset: add bert_tiny"),
        (("--backbone", "VGG16", "--sequence-length", "20"), "it is for kerashub only, and the backbone is VGG16"),
    ],
)
def test_mistakes_are_refused_before_tensorflow_loads(call, reviews, preset, monkeypatch, arguments, words):
    arguments = [f"kerashub:{preset}" if word == "PRESET" else word for word in arguments]
    for module in ("run.job", "extras.hub.spec", "extras.kerashub.spec"):
        monkeypatch.setattr(f"tlkeras.{module}.load_tensorflow", lambda *_: pytest.fail("too late"))
    answer = call("train.py", "--data", reviews, *arguments)
    assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1


def test_the_stages_of_an_encoder(call, preset, monkeypatch):
    monkeypatch.setattr("tlkeras.commands.summary.load_tensorflow", lambda *_: pytest.fail("it is not needed"))
    for name, last in (("kerashub:bert_mini", 3), (f"kerashub:{preset}", 1)):
        lines = call("summary.py", name).out.splitlines()
        stages = ["embeddings", *(f"transformer_layer_{k}" for k in range(last)), f"transformer_layer_{last}*"]
        assert [line.split()[0] for line in lines[1:-1]] == stages and "parameters" in lines[-1]


def test_images_are_refused(call, colors):
    pytest.importorskip("keras_hub")
    answer = call("train.py", "--data", colors, "--backbone", "kerashub:bert_tiny", "--weights", "none")
    assert answer.code == 2 and "takes texts, and" in answer.err


def test_without_kerashub_the_message_says_what_to_install(call, reviews, monkeypatch):
    without_kerashub(monkeypatch)
    monkeypatch.setattr("tlkeras.run.job.load_tensorflow", lambda *_: pytest.fail("too late"))
    answer = call("train.py", "--data", reviews, "--backbone", "kerashub:bert_tiny", "--weights", "none")
    assert answer.code == 2 and answer.err.endswith("pip install keras-hub tensorflow-text.\n")
