"""predict.py --log and scripts/drift.py: what is said of images like those of validation, and of others."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlkeras
from tlkeras.run.load_run import load_run
from tlkeras.run.predictions import load_predictions
from tlkeras.run.usage_log import UsageLog, read_usage

TASKS = ("single_label", "multi_label", "regression")


def photos(count: int, seed: int, bright: float = 0.5, contrast: float = 1.0) -> np.ndarray:
    """Return gray noise, of which the fraction `bright` is brighter."""
    rng = np.random.default_rng(seed)
    level = np.where(np.arange(count) < bright * count, 90, 0)[:, None, None, None]
    return (level + 20 + contrast * rng.integers(0, 90, (count, 16, 16, 3))).clip(0, 255).astype("uint8")


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_backbone) -> dict[str, Path]:
    """Return a run of each task."""
    images = photos(200, 0)
    bright = np.arange(200) < 100
    labels = {"single_label": np.where(bright, "bright", "dark"), "regression": images.mean(axis=(1, 2, 3)) / 100,
              "multi_label": np.stack([bright, np.ones(200)], axis=1).astype("float32")}  # fmt: skip
    folder, options = tmp_path_factory.mktemp("drift"), {"weights": "none", "epochs": (6, 0), "validation_split": 0.4}
    with tiny_backbone() as name:
        return {
            task: tlkeras.train(
                data=(images, labels[task]), task=task, backbone=name, cache_gb=0, run_dir=folder / task, **options
            )
            for task in TASKS
        }


def save(folder: str, images: np.ndarray) -> str:
    Path(folder).mkdir()
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(f"{folder}/{number:03}.png")
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_images_like_those_of_validation_have_not_moved_and_others_have(call, runs, task):
    save("same", photos(60, 1))
    save("flat", photos(60, 2, contrast=0.3))
    save("mixed", photos(60, 3, bright=0.1))
    for folder in ("same", "flat", "mixed"):
        answer = call("predict.py", runs[task], folder, "--log", f"{folder}.npz", "--json")
        assert answer.code == 0 and answer.err == "" and len(json.loads(answer.out)) == 60
    answer = call("drift.py", runs[task], "same.npz")
    assert (answer.code, answer.err) == (0, "") and "Nothing shows that the data have moved." in answer.out
    assert "60 images of 20" in answer.out and "Validation: 80 images" in answer.out
    assert "at most 5% of comparisons" in answer.out and max(map(len, answer.out.splitlines())) <= 80
    answer = call("drift.py", runs[task], "flat.npz")
    assert answer.code == 1 and "The data have moved." in answer.out and "look different to the model" in answer.out
    answer = call("drift.py", runs[task], "mixed.npz", "--json")
    result = json.loads(answer.out)
    assert answer.code == 1 and result["moved"] and result["tests"]["outputs"]["moved"]
    if task == "single_label":
        logged = {row["label"]: row["log"] for row in result["outputs"]}
        assert logged["dark"] == pytest.approx(0.9, abs=0.05) and sum(logged.values()) == pytest.approx(1)
        assert "above all" in call("drift.py", runs[task], "mixed.npz").out and result["unsure"]
    assert (result["confidence"] is None) == (task == "regression")


def test_the_log_grows_and_drift_waits_for_enough(call, runs):
    save("a", photos(12, 4))
    Path("a/broken.png").write_text("no image")
    call("predict.py", runs["single_label"], "a", "--log", "usage.npz")
    answer = call("drift.py", runs["single_label"], "usage.npz")
    assert answer.code == 0 and "12 images" in answer.out and "Too few images to tell" in answer.out
    assert json.loads(call("drift.py", runs["single_label"], "usage.npz", "--json").out)["moved"] is None
    call("predict.py", runs["single_label"], "a", "--log", "usage.npz")
    assert "Nothing shows" in call("drift.py", runs["single_label"], "usage.npz").out


# [part: batch]
def test_what_was_predicted_before_a_stop_is_in_the_log(call, runs, monkeypatch):
    from tlkeras.run import predict_file

    save("a", photos(24, 4))
    chunks = []

    def stop(output, predictions, state):
        chunks.append(len(predictions))
        if len(chunks) == 2:
            raise KeyboardInterrupt
        return write(output, predictions, state)

    write = predict_file._append_csv
    monkeypatch.setattr(predict_file, "_append_csv", stop)
    monkeypatch.setattr(predict_file, "CHUNK", 8)
    answer = call("predict.py", runs["single_label"], "a", "--output", "a.csv", "--log", "usage.npz")
    assert answer.code == 130 and len(Path("a.csv").read_text().splitlines()) > 8
    assert "16 images" in call("drift.py", runs["single_label"], "usage.npz").out  # the second chunk will come again


# [/part]
def test_the_reference_says_what_the_log_of_the_same_images_says(call, runs):
    """The validation images through predict.py: the same counts, unsure ones too, and the same rows."""
    log = UsageLog(Path("usage.npz"), load_run(runs["single_label"]))
    kept = load_predictions(runs["single_label"]).of("validation")
    save("validation", photos(200, 0)[kept.names.astype(int)])
    call("predict.py", runs["single_label"], "validation", "--log", "usage.npz")
    usage, reference = read_usage(log.path, log.run_hash, log.reference), log.reference
    for name, values in usage.total()._asdict().items():
        assert np.array_equal(values, getattr(reference, name)), name
    distances = np.abs(usage.rows[:, None].astype("float64") - reference.rows[None]).max(axis=2)
    assert distances.min(axis=0).max() < 0.02 and distances.min(axis=1).max() < 0.02


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["RUN"], "Nothing was given for LOG"),
        (["RUN", "nowhere.npz"], "There is no log nowhere.npz. predict.py and serve.py write one"),
        (["nowhere", "usage.npz"], "There is no run folder nowhere"),
        (["RUN", "notes.txt"], "notes.txt is not a log"),
        (["RUN", "usage.npz", "--since", "yesterday"], "--since was yesterday; it must be a date"),
        (["RUN", "usage.npz", "--since", "2999-01-01"], "usage.npz holds nothing since 2999-01-01; its last day is 20"),
        (["OTHER", "usage.npz"], "usage.npz is the log of another run"),
    ],
)
def test_mistakes_are_sentences(call, runs, arguments, words):
    Path("notes.txt").write_text("no log")
    save("a", photos(2, 5))
    call("predict.py", runs["single_label"], "a", "--log", "usage.npz")
    names = {"RUN": runs["single_label"], "OTHER": runs["regression"]}
    answer = call("drift.py", *(names.get(word, word) for word in arguments))
    assert (answer.code, answer.out) == (2, "") and answer.err.count("\n") == 1 and words in answer.err


def test_a_run_without_a_reference_is_told_before_anything_is_predicted(call, trained, colors):
    answer = call("predict.py", trained.path, colors, "--log", "usage.npz")
    assert (answer.code, answer.out) == (2, "") and "no" in answer.err and "reference.npz" in answer.err
    assert not Path("usage.npz").exists()
