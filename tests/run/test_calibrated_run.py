"""A run whose probabilities are calibrated: model, outputs and metrics agree, and the top classes stay."""

import csv
import io
import json
from pathlib import Path

import keras
import numpy as np
import pytest

import tlkeras
from tlkeras.run.predict import as_csv, as_json, as_table
from tlkeras.run.predictions import load_predictions

OPTIONS = {"weights": "none", "epochs": (4, 0), "cache_gb": 0, "validation_split": 0.3, "head_learning_rate": 0.03}


def gray_levels(count: int = 400, spread: float = 12.0) -> tuple[np.ndarray, np.ndarray]:
    """Return images 16 x 16 of two overlapping levels of gray, and which of them each is."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    levels = 100 + 60 * labels + rng.normal(0, spread, count)
    images = np.clip(levels[:, None, None, None] + rng.normal(0, 4, (count, 16, 16, 3)), 0, 255)
    return images.astype("uint8"), labels


@pytest.fixture(scope="module")
def train(tmp_path_factory, tiny_backbone):
    """Return `train(name, data, **options)`, which trains a run, once for each name."""
    made, base = {}, tmp_path_factory.mktemp("calibrated")
    with tiny_backbone() as name:

        def make(key: str, data=None, **options) -> Path:
            if key not in made:
                folder = base / key
                images, labels = gray_levels()
                data = (images, np.array(["dark", "light"])[labels]) if data is None else data
                made[key] = tlkeras.train(data=data, backbone=name, run_dir=folder, **OPTIONS | options)
            return made[key]

        yield make


def metrics(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def check_agreement(run: Path, images: np.ndarray, task: str = "single_label") -> keras.Model:
    """Fail where the saved model, the outputs that are kept and the metrics are not of one."""
    model, kept = keras.models.load_model(run / "model.keras"), load_predictions(run)
    rows = [int("".join(filter(str.isdigit, name))) for name in kept.names]
    first = min(rows)
    assert np.abs(model.predict(images[[row - first for row in rows]], verbose=0) - kept.outputs).max() < 1e-5
    for split in ("train", "validation", "test"):
        part = kept.of(split)
        again = tlkeras.compute_metrics(part.outputs, part.targets, task)
        assert all(metrics(run)[split][name] == value for name, value in again.items())
    return model


def test_label_smoothing_is_undone_and_the_top_class_stays(train, caplog):
    smooth, plain = (train(kind, label_smoothing=0.3, calibration=kind) for kind in ("auto", "none"))
    said = metrics(smooth)["calibration"]
    assert said["temperature"] < 0.8 and said["ece_after"] < said["ece_before"] / 2
    assert metrics(plain)["calibration"] == "switched off"
    calibrated, without = check_agreement(smooth, gray_levels()[0]), check_agreement(plain, gray_levels()[0])
    for split in ("train", "validation", "test"):
        assert metrics(smooth)[split]["accuracy"] == metrics(plain)[split]["accuracy"]
        assert metrics(smooth)[split]["loss"] < metrics(plain)[split]["loss"]
    assert metrics(smooth)["test"]["ece"] < metrics(plain)["test"]["ece"] / 2
    outputs = load_predictions(smooth).outputs, load_predictions(plain).outputs
    assert np.array_equal(outputs[0].argmax(axis=1), outputs[1].argmax(axis=1))
    weights = [model.get_layer("output").get_weights() for model in (calibrated, without)]
    for mine, other in zip(*weights, strict=True):
        assert np.allclose(mine * said["temperature"], other, atol=1e-6)
    assert [layer.name for layer in calibrated.layers] == [layer.name for layer in without.layers]
    said, unsaid = ((run / "log.txt").read_text() for run in (smooth, plain))
    assert "Calibrated on validation" in said and "Calibrated" not in unsaid


@pytest.mark.parametrize(
    "options",
    [{"precision": "mixed_bfloat16"}, {"head": keras.layers.Dense(5, "relu", name="mine")}],
    ids=["mixed precision", "own head"],
)
def test_other_models_are_calibrated_alike(train, options):
    run = train(next(iter(options)), label_smoothing=0.3, **options)
    assert metrics(run)["calibration"]["temperature"] < 0.9
    if "precision" not in options:  # outputs of bfloat16 layers depend on how the batches are cut
        check_agreement(run, gray_levels()[0])


def test_several_labels(train):
    images, labels = gray_levels()
    targets = np.stack([labels, (images.mean(axis=(1, 2, 3)) > 100)], axis=1).astype("float32")
    run = train("several", (images, targets), task="multi_label", label_smoothing=0.4)
    said = metrics(run)["calibration"]
    assert min(said["slopes"]) >= 1 and max(said["slopes"]) > 1.2 and len(said["offsets"]) == 2
    assert said["ece_after"] < said["ece_before"]
    check_agreement(run, images, "multi_label")
    thresholds = json.loads((run / "thresholds.json").read_text())
    assert set(thresholds["operating_points"]) == {"0", "1"} and "reject" not in thresholds
    assert tlkeras.predict(run, images[0])[0].unsure is None


def test_numbers(train):
    images, labels = gray_levels(60)
    run = train("numbers", (images, images.mean(axis=(1, 2, 3)) / 10 + labels), task="regression")
    assert metrics(run)["calibration"] == "numbers have no probabilities"
    assert not (run / "thresholds.json").exists() and "classes" not in metrics(run)["test"]
    assert metrics(run)["test"]["intervals_95"]["mae"][0] < metrics(run)["test"]["mae"]
    assert "unsure" not in as_table(tlkeras.predict(run, images[0]))


def test_what_is_below_the_threshold_is_unsure(train):
    """The threshold is chosen on validation, kept with the run, and used for predictions and on the test."""
    images, labels = gray_levels(spread=24.0)
    data = images, np.array(["dark", "light"])[labels]
    run = train("wanted", data, wanted_accuracy=0.97, label_smoothing=0.3)
    kept = load_predictions(run)
    reject = json.loads((run / "thresholds.json").read_text())["reject"]
    validation = kept.of("validation")
    accepted = validation.outputs.max(axis=1) >= reject["threshold"]
    right = (validation.outputs.argmax(axis=1) == validation.targets.argmax(axis=1))[accepted]
    assert 0 < reject["coverage"] == accepted.mean() < 1 and right.mean() == reject["accuracy"] >= 0.97
    trained = metrics(run)["test"]["accepted"]
    assert trained["coverage"] == (kept.of("test").outputs.max(axis=1) >= reject["threshold"]).mean()
    (run / "known.npz").unlink()  # which is tested below
    again = tlkeras.evaluate(run, data)["all"]["accepted"]
    assert again["threshold"] == reject["threshold"] and 0 < again["coverage"] < 1
    predictions = tlkeras.predict(run, images)
    unsure = [one.unsure for one in predictions]
    assert unsure == [one.scores[0][1] < reject["threshold"] for one in predictions] and len(set(unsure)) == 2
    assert np.mean(unsure) == pytest.approx(1 - again["coverage"])
    marked = predictions[unsure.index(True)], predictions[unsure.index(False)]
    assert [line.endswith("  unsure") for line in as_table(marked).splitlines()] == [True, False]
    assert [entry["unsure"] for entry in json.loads(as_json(marked))] == [True, False]
    rows = list(csv.DictReader(io.StringIO(as_csv(marked))))
    assert [row["unsure"] for row in rows] == ["true", "true", "false", "false"]


def test_an_image_of_none_of_the_classes_is_unsure(train):
    """By its features, however sure the model is."""
    run = train("auto", label_smoothing=0.3, calibration="auto")
    images = gray_levels()[0]
    others = np.zeros((4, 16, 16, 3), "uint8")  # black but for: stripes, a red and a blue image, a white half
    others[0, :, ::2] = others[1, :, :, 0] = others[2, :, :, 2] = others[3, 8:] = 255
    assert json.loads((run / "thresholds.json").read_text())["reject"]["threshold"] == 0
    assert [one.unsure for one in tlkeras.predict(run, others)] == [True] * 4
    assert np.mean([one.unsure for one in tlkeras.predict(run, images)]) < 0.1
    model = keras.models.load_model(run / "model.keras")
    found = tlkeras.predict(run, images[:3], top_k=2)
    scores = [[dict(one.scores)[name] for name in ("dark", "light")] for one in found]
    assert np.allclose(scores, model.predict(images[:3], verbose=0), atol=1e-6)


def test_a_run_without_thresholds_calls_nothing_unsure_and_damaged_ones_are_a_sentence(train, tmp_path):
    import shutil

    images = gray_levels()[0]
    older = shutil.copytree(train("auto", label_smoothing=0.3, calibration="auto"), tmp_path / "older")
    (older / "known.npz").unlink()
    (older / "thresholds.json").write_text('{"reject": {"threshold": "high"}}')
    with pytest.raises(tlkeras.UserError, match="damaged"):
        tlkeras.predict(older, images[0])
    (older / "thresholds.json").unlink()
    assert tlkeras.predict(older, images[0])[0].unsure is None
    assert '"unsure": null' in as_json(tlkeras.predict(older, images[0]))


def test_a_run_that_was_stopped_when_it_was_calibrated_is_resumed_to_the_same(train, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    options = {"label_smoothing": 0.3, "calibration": "auto"}
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="resume it with"):
        patch.setattr("tlkeras.run.train.save_run", stop)
        train("stopped", **options)
    first, again = train("auto", **options), train("stopped", resume=True, **options)
    assert metrics(again) | {"seconds": 0} == metrics(first) | {"seconds": 0}
    kept = [keras.models.load_model(run / "model.keras").get_layer("output").get_weights() for run in (first, again)]
    assert all(map(np.array_equal, *kept))
