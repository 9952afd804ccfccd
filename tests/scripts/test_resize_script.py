"""--resize: training, the saved model, its exports and its explanations look at the same part of an image."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml
from PIL import Image

import tlkeras
from tlkeras.config.train import TrainConfig
from tlkeras.run.explain import explain

SLOW = pytest.mark.slow
WAYS = [pytest.param("crop", marks=SLOW), "pad", pytest.param("squash", marks=SLOW)]


@pytest.fixture(scope="session")
def ends(once):
    """Return a folder of 30 x 96 images with a red or a blue spot at one end, which a center square lacks."""

    def draw(folder):
        rng = np.random.default_rng(0)
        for number in range(60):
            name, channel = (("red", 0), ("blue", 2))[number % 2]
            pixels = rng.integers(60, 90, (30, 96, 3))
            start = rng.integers(0, 8) + 66 * (number % 3 == 0)
            pixels[4:26, start : start + 22, channel] += 150
            (folder / name).mkdir(exist_ok=True)
            Image.fromarray(pixels.astype("uint8")).save(folder / name / f"{number}.png")

    return once("ends", draw)


@pytest.fixture(scope="session")
def runs(ends, run_script, once):
    """Return a function from a way to a run that was trained with it, once for all tests."""

    def make(way: str):
        def train(folder):
            words = ("--weights", "bundled", "--backbone", "MobileNetV2-0.35", "--image-size", 32,
                     "--frozen-epochs", 10, "--finetune-epochs", 1, "--views", 1, "--unfreeze", "block_16")  # fmt: skip
            answer = run_script("train.py", "--data", ends, *words, "--resize", way, "--run-dir", "run", cwd=folder)
            assert answer.code == 0, answer.err
            (folder / "said.txt").write_text(answer.out + answer.err)

        return once(f"resize-{way}", train) / "run"

    return make


@pytest.mark.parametrize("way", WAYS)
def test_the_model_looks_where_it_was_told_to(runs, ends, way):
    run = runs(way)
    assert yaml.safe_load((run / "config.yaml").read_text())["resize"] == way
    metrics = json.loads((run / "metrics.json").read_text())
    assert way == "crop" or metrics["train"]["accuracy"] >= 0.95  # those that are cropped are learned by heart or not
    assert (
        tlkeras.evaluate(run)["test"]["accuracy"] == json.loads((run / "metrics.json").read_text())["test"]["accuracy"]
    )
    files = sorted(ends.glob("*/*.png"))[::9]
    predicted = [dict(one.scores)["blue"] for one in tlkeras.predict(run, files)]
    code = """import sys, json, keras, numpy as np
from PIL import Image
model = keras.models.load_model(sys.argv[1])
print(json.dumps([float(model.predict(np.asarray(Image.open(file))[None], verbose=0)[0, 0]) for file in sys.argv[2:]]))
assert "tlkeras" not in sys.modules"""
    done = subprocess.run([sys.executable, "-c", code, str(run / "model.keras"), *map(str, files)], capture_output=True,
                          text=True, check=True)  # fmt: skip
    # Pillow rounds pixels to whole numbers, the layer in the model does not.
    assert json.loads(done.stdout) == pytest.approx(predicted, abs=0.02)
    shown = explain(run, files[:1], "occlusion")[0].image
    assert (shown[:8].max() == 0) == (way == "pad") and (shown.max() > 180) == (way != "crop")


@SLOW
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("format", ["saved-model", "litert", "onnx", "openvino"])
def test_exports_do_it_as_the_model_does(runs, run_script, tmp_path, way, format):
    answer = run_script("export.py", runs(way), "--format", format, "--output", "artifact", cwd=tmp_path)
    assert answer.code == 0, answer.err
    parity = json.loads((tmp_path / "artifact" / "parity.json").read_text())
    assert parity["own_size"]["count"] >= 8 and parity["own_size"]["max_difference"] < 1e-4  # of 30 x 96 pixels
    inside = json.loads((tmp_path / "artifact" / "artifact.json").read_text())["input"]["resize"]
    words = {"crop": "the center square", "pad": "with black bars to a square", "squash": "squashed to a square"}
    assert inside == f"inside, {words[way]}, antialiased"


@SLOW
def test_auto_takes_what_tells_the_classes_apart(runs, ends, caplog):
    run = runs("auto")
    chosen = yaml.safe_load((run / "config.yaml").read_text())["resize"]
    (line,) = [line for line in (run.parent / "said.txt").read_text().splitlines() if line.startswith("Resize: ")]
    assert chosen in ("pad", "squash") and line.startswith(f"Resize: {chosen}. ") and "better than crop" in line
    assert "cross-validated on 51 images: crop 0." in line
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["train"]["accuracy"] >= 0.95 and metrics["train"]["count"] == 42
    with caplog.at_level("WARNING", "tlkeras"):
        tlkeras.evaluate(run, ends)
    assert "the run was trained on 42 of these 60 images" in caplog.text  # split.csv knows them as they are seen now


def test_auto_keeps_crop_where_nothing_is_surely_better(colors, call, tmp_path, tiny_options):
    words = ("--weights", "bundled", "--backbone", "MobileNetV2-0.35", *tiny_options[4:])
    answer = call("train.py", "--data", colors, *words, "--resize", "auto", "--run-dir", "run")
    assert answer.code == 0, answer.err
    assert "Resize: crop. " in answer.out
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["resize"] == "crop"


@pytest.mark.parametrize("options", [{"weights": "none"}, {"task": "regression"}, {"task": "multi_label"}])
def test_auto_needs_weights_and_classes(options):
    with pytest.raises(tlkeras.errors.UserError, match="it needs weights, and one class per image"):
        TrainConfig(data="digits", resize="auto", **options).check()


@pytest.mark.parametrize("script", ["choose.py", "pretrain.py"])
def test_commands_that_cannot_take_auto(call, colors, script):
    answer = call(script, "--data", colors, "--resize", "auto")
    assert answer.code == 2 and "crop, pad or squash" in answer.err
