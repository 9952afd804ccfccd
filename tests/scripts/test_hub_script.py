"""Runs on a TensorFlow Hub module, from the options to predictions where the module is gone."""

import json
import shutil
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
import yaml


def save_module(folder: Path, width: int = 8) -> None:
    """Save a module that computes features from three means and three mean squares of pixels."""
    import tensorflow as tf

    module = tf.Module()
    module.kernel = tf.Variable(np.random.default_rng(0).normal(size=(6, width)).astype("float32"))

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3))])
    def features(pixels):
        return tf.concat([tf.reduce_mean(pixels, (1, 2)), tf.reduce_mean(pixels**2, (1, 2))], 1) @ module.kernel

    module.__call__ = features
    tf.saved_model.save(module, str(folder))


@pytest.fixture(scope="session")
def handle(tmp_path_factory) -> str:
    """Return the handle of a module's folder; do not write into it."""
    folder = tmp_path_factory.mktemp("hub") / "features"
    save_module(folder)
    return f"hub:{folder}"


OPTIONS = ("--image-size", "16", "--frozen-epochs", "2", "--finetune-epochs", "2", "--head-learning-rate", "0.1",
           "--linear-probe", "never")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("served", [False, True])
def test_train_then_evaluate_and_predict_without_the_module(run_script, hub, colors, handle, tmp_path, served):
    """Do so with a folder, and with an archive that is downloaded: by then neither it nor the cache exists any more."""
    if served:
        hub.archive, folder, handle = tmp_path / "features.tar.gz", handle.removeprefix("hub:"), f"hub:{hub.url}"
        with tarfile.open(hub.archive, "w:gz") as file:
            file.add(folder, arcname=".")
    else:
        handle = f"hub:{shutil.copytree(handle.removeprefix('hub:'), tmp_path / 'module')}"
    answer = run_script("train.py", "--data", colors, "--backbone", handle, *OPTIONS, "--run-dir", "run", cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert answer.err == "" and "weights of the module" in answer.out
    assert "Features (pooled)" in answer.out
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (config["backbone"], config["weights"], config["unfreeze"]) == (handle, "module", "all")
    asked, hub.archive = len(hub.asked), None
    assert (asked > 0) == served
    shutil.rmtree(tmp_path / ("hub-cache" if served else "module"))
    evaluated = run_script("evaluate.py", "run", cwd=tmp_path)
    predicted = run_script("predict.py", "run", colors / "red" / "1.png", "--json", cwd=tmp_path)
    assert evaluated.code == 0 and "Test:" in evaluated.out, evaluated.err
    assert predicted.code == 0 and len(json.loads(predicted.out)) == 1, predicted.err
    assert len(hub.asked) == asked


@pytest.mark.slow
def test_a_stopped_run_is_resumed_with_the_same_module_only(run_script, start_script, colors, tmp_path):
    save_module(tmp_path / "module")
    options = (*OPTIONS, "--finetune-epochs", "30", "--patience", "100", "--run-dir")
    arguments = ("train.py", "--data", colors, "--backbone", "hub:module", *options)
    complete = run_script(*arguments, "complete", cwd=tmp_path)
    assert complete.code == 0, complete.err
    process = start_script(*arguments, "run", cwd=tmp_path)
    checkpoints = tmp_path / ".run.partial" / "checkpoints"
    while max((int(file.name[:6]) for file in checkpoints.glob("0*.npz")), default=0) < 4 and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    assert process.wait() == -9
    (tmp_path / "module").rename(tmp_path / "before")
    save_module(tmp_path / "module", width=9)
    refused = run_script(*arguments, "run", "--resume", cwd=tmp_path)
    assert refused.code == 2 and "was started with other weights: resuming would not give the same" in refused.err
    shutil.rmtree(tmp_path / "module")
    (tmp_path / "before").rename(tmp_path / "module")
    answer = run_script(*arguments, "run", "--resume", cwd=tmp_path)
    assert answer.code == 0 and "Resuming from epoch" in answer.out, answer.err
    assert (tmp_path / "run" / "history.csv").read_bytes() == (tmp_path / "complete" / "history.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--backbone", "hub:"), "without a handle: add a URL"),
        (("--backbone", "hub:nowhere"), "nowhere does not exist or is not a module"),
        (("--backbone", "hub:http://127.0.0.1:9/module/1"), "cannot be downloaded"),
        (("--backbone", "HANDLE", "--weights", "none"), "has its own; leave it out"),
        (("--backbone", "HANDLE", "--unfreeze", "conv4"), "There is no stage of hub:"),
        (("--backbone", "VGG16", "--pixel-range", "0..1"), "it is for hub only, and the backbone is VGG16"),
    ],
)
def test_mistakes_are_refused_before_tensorflow_loads(call, colors, handle, monkeypatch, arguments, words):
    monkeypatch.setattr("tlkeras.extras.hub.spec.load_tensorflow", lambda: pytest.fail("too late"))
    arguments = [handle if word == "HANDLE" else word for word in arguments]
    answer = call("train.py", "--data", colors, *arguments)
    assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1
