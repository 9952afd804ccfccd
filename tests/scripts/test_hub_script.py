"""A run with a TensorFlow Hub module, from its options to predictions where the module is gone."""

import json
import shutil

import numpy as np
import pytest
import yaml


@pytest.fixture(scope="session")
def handle(tmp_path_factory) -> str:
    """A module that computes three means and three mean squares of pixels."""
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(6, 8)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def features(pixels):
        return tf.concat([tf.reduce_mean(pixels, (1, 2)), tf.reduce_mean(pixels**2, (1, 2))], 1) @ module.kernel

    module.__call__ = features
    folder = tmp_path_factory.mktemp("hub") / "features"
    tf.saved_model.save(module, str(folder))
    return f"hub:{folder}"


OPTIONS = ("--image-size", "16", "--frozen-epochs", "2", "--finetune-epochs", "2", "--frozen-rate", "0.1")


@pytest.mark.slow
def test_train_then_evaluate_and_predict_without_the_module(run_script, colours, handle, tmp_path):
    answer = run_script("train.py", "--data", colours, "--backbone", handle, *OPTIONS, "--run-dir", "run", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.err == "" and "weights of the module" in answer.out
    assert f"Features ({handle} at 16 px, pooled)" in answer.out
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["backbone"], config["weights"], config["unfreeze"]) == (handle, "module", "module")
    folder = handle.removeprefix("hub:")
    shutil.move(folder, folder + "-elsewhere")
    try:
        judged = run_script("evaluate.py", "run", cwd=tmp_path)
        said = run_script("predict.py", "run", colours / "red" / "1.png", "--json", cwd=tmp_path)
    finally:
        shutil.move(folder + "-elsewhere", folder)
    assert judged.code == 0 and "Test:" in judged.out, judged.err
    assert said.code == 0 and len(json.loads(said.out)) == 1, said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backbone", "hub:"), "which lacks a handle: add a URL"),
        (("--backbone", "hub:nowhere"), "nowhere is not there, or is no module"),
        (("--backbone", "hub:http://127.0.0.1:9/module/1"), "cannot be downloaded"),
        (("--backbone", "HANDLE", "--weights", "none"), "a hub module brings its own"),
        (("--backbone", "HANDLE", "--unfreeze", "conv4"), "There is no stage of hub:"),
        (("--backbone", "VGG16", "--pixel-range", "0..1"), "it is for hub modules only"),
    ],
)
def test_mistakes_are_said_before_tensorflow_loads(call, colours, handle, monkeypatch, arguments, words):
    monkeypatch.setattr("tlkeras.hub.row.load_tensorflow", lambda: pytest.fail("too late"))
    arguments = [handle if word == "HANDLE" else word for word in arguments]
    answer = call("train.py", "--data", colours, *arguments)
    assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1
