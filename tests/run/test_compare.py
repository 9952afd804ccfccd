"""Runs are compared on the examples that all of them held out, each paired with itself."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import yaml
from scipy.stats import binomtest

from tlkeras.errors import UserError
from tlkeras.evaluation.compare import compare_outputs
from tlkeras.evaluation.metrics import compute_metrics
from tlkeras.run.compare import compare, count_params

SCRIPT = Path(__file__).parents[2] / "scripts" / "compare.py"
CLASSES = ["ant", "bee", "cat"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    layers = [keras.Input((None, None, 3)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.1),
              keras.layers.Dense(3, "softmax")]  # fmt: skip
    keras.Sequential(layers).save(path)
    return path


@pytest.fixture
def make_run(tmp_path, model):
    """Return a function that writes a run's folder: an output and a target for each digest."""

    def make(name, digests, outputs, targets, splits="test", classes=CLASSES, task="single_label", **config):
        folder = tmp_path / name
        folder.mkdir()
        shutil.copy(model, folder)
        options = {"data": "photos", "backbone": "Tiny", "batch_size": 8, "image_size": 16, "max_unreadable": 0.1}
        (folder / "config.yaml").write_text(yaml.safe_dump(options | {"gray_range": None} | config))
        (folder / "labels.json").write_text(json.dumps({"task": task, "classes": classes, "modality": "image"}))
        np.savez_compressed(
            folder / "predictions.npz", names=np.array([f"{digest}.jpg" for digest in digests]),
            digests=np.array(digests), splits=np.broadcast_to(splits, len(digests)),
            targets=np.asarray(targets, "float32"), outputs=np.asarray(outputs, "float32"),
        )  # fmt: skip
        return folder

    return make


def some(count=60, seed=0, strength=1.0):
    """Return digests, outputs and targets of three classes."""
    rng, truth = np.random.default_rng(seed), np.arange(count) % 3
    targets = np.eye(3)[truth]
    logits = rng.normal(size=(count, 3)) + strength * targets
    return [f"d{index}" for index in range(count)], np.exp(logits) / np.exp(logits).sum(1, keepdims=True), targets


def test_metrics_are_those_of_a_run_and_the_test_is_scipys():
    _, good, targets = some(strength=2.0)
    _, poor, _ = some(seed=1)
    first, second = compare_outputs([poor, good], targets, "single_label")
    for row, outputs in ((first, poor), (second, good)):
        known = compute_metrics(outputs, targets, "single_label")
        assert all(row[name] == pytest.approx(known[name], abs=1e-9) for name in ("accuracy", "macro_f1", "loss"))
    assert second["difference"] is None and first["difference"]["accuracy"] == first["accuracy"] - second["accuracy"]
    right = [outputs.argmax(1) == targets.argmax(1) for outputs in (poor, good)]
    only = [int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum())]
    assert first["difference"]["mcnemar_p"] == pytest.approx(binomtest(only[0], sum(only)).pvalue)
    low, high = first["difference"]["intervals_95"]["accuracy"]
    assert low < first["difference"]["accuracy"] < high < 0


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_several_labels_and_numbers(task):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, (50, 3)) if task == "multi_label" else rng.normal(size=(50, 1))
    good, poor = (np.clip(targets + rng.normal(0, scale, targets.shape), 0.01, 0.99) for scale in (0.3, 0.9))
    rows = compare_outputs([good, poor], targets, task)
    known = compute_metrics(poor, targets, task)
    names = ["accuracy", "macro_f1", "loss"] if task == "multi_label" else ["mae", "loss"]
    assert all(rows[1][name] == pytest.approx(known[name], abs=1e-9) for name in names)
    assert rows[0]["difference"] is None and "mcnemar_p" not in rows[1]["difference"]


def test_the_interval_of_an_accuracy_is_that_of_the_run_and_equal_models_have_none_between_them():
    _, outputs, targets = some()
    rows = compare_outputs([outputs, outputs.copy()], targets, "single_label")
    known = compute_metrics(outputs, targets, "single_label")["intervals_95"]
    assert rows[0]["intervals_95"] == {name: known[name] for name in ("accuracy", "macro_f1", "loss")}
    assert rows[1]["difference"]["accuracy"] == 0 and rows[1]["difference"]["intervals_95"]["accuracy"] is None


def test_a_paired_interval_is_narrower_than_that_of_independent_runs():
    _, outputs, targets = some(300)
    almost = np.where(np.arange(300)[:, None] < 4, np.roll(outputs, 1, axis=1), outputs)
    row = next(row for row in compare_outputs([outputs, almost], targets, "single_label") if row["difference"])
    width = np.ptp(row["difference"]["intervals_95"]["accuracy"])
    assert width < np.ptp(row["intervals_95"]["accuracy"]) / 2


def test_examples_are_joined_by_digest_and_classes_by_name(make_run):
    digests, outputs, targets = some()
    order, columns = np.random.default_rng(3).permutation(60), [2, 0, 1]
    runs = [
        make_run("a", digests, outputs, targets),
        make_run("b", [digests[row] for row in order], outputs[order][:, columns], targets[order][:, columns],
                 classes=[CLASSES[column] for column in columns]),
    ]  # fmt: skip
    result = compare(runs, latency=False)
    assert result["count"] == 60 and result["joined_by"] == "digest"
    assert result["runs"][0]["loss"] == pytest.approx(result["runs"][1]["loss"], abs=1e-12)


def test_only_examples_that_no_run_was_trained_on(make_run):
    digests, outputs, targets = some()
    a = make_run("a", digests, outputs, targets, ["test"] * 20 + ["train"] * 40)
    b = make_run("b", digests, outputs, targets, ["train"] * 10 + ["test"] * 20 + ["train"] * 30)
    assert compare([a, b], latency=False)["count"] == 10
    c = make_run("c", digests, outputs, targets, ["train"] * 30 + ["test"] * 30)
    with pytest.raises(UserError, match=r"different images: none .* --seed"):
        compare([a, c], latency=False)
    leaked = make_run("leaked", [*digests, "d3"], [*outputs, outputs[3]], [*targets, targets[3]],
                      ["test"] * 20 + ["train"] * 41)  # fmt: skip
    assert compare([a, leaked], latency=False)["count"] == 19


def test_copies_are_paired_with_copies_of_their_label(make_run):
    _, outputs, _ = some(4)
    labels, digests = np.eye(3)[[0, 1, 0, 2]], ["same", "same", "same", "other"]
    a = make_run("a", digests, outputs, labels)
    order = [1, 3, 2]  # one copy less, in another order
    b = make_run("b", [digests[row] for row in order], outputs[order], labels[order])
    result = compare([a, b], latency=False)
    assert result["count"] == 3
    changed = make_run("changed", digests, outputs, np.eye(3)[[2, 2, 2, 2]])
    assert compare([a, changed], latency=False)["count"] == 1


def test_runs_of_other_image_sizes_are_joined_by_name_where_the_data_are_the_same(make_run):
    digests, outputs, targets = some()
    a = make_run("a", digests, outputs, targets)
    b = make_run("b", digests, outputs, targets, image_size=32)
    content = dict(np.load(b / "predictions.npz"))
    np.savez(b / "predictions.npz", **content | {"digests": np.array([f"x{one}" for one in digests])})
    result = compare([a, b], latency=False)
    assert (result["count"], result["joined_by"]) == (60, "name")
    for name in ("a", "b"):
        path = a.parent / name / "config.yaml"
        path.write_text(path.read_text().replace("data: photos", f"data: {name}"))
    with pytest.raises(UserError, match="different images"):
        compare([a, b], latency=False)


def test_what_cannot_be_compared_is_a_sentence(make_run):
    digests, outputs, targets = some()
    a = make_run("a", digests, outputs, targets)
    for name, changes, sentence in (
        ("task", {"task": "multi_label"}, "of one task"), ("classes", {"classes": ["ant", "bee", "dog"]}, "cat, dog"),
        ("validation", {"splits": "validation"}, "no test split. Give --split validation"),
    ):  # fmt: skip
        other = make_run(name, digests, outputs, targets, **changes)
        with pytest.raises(UserError, match=sentence):
            compare([a, other], "test", latency=False)
    with pytest.raises(UserError, match="two or more"):
        compare([a])


def test_parameters_are_those_that_keras_counts(model):
    assert count_params(model) == keras.models.load_model(model).count_params()


def test_the_script_prints_a_table_without_tensorflow_and_draws(make_run, tmp_path):
    digests, outputs, targets = some()
    long = "a-run-with-a-name-that-is-much-longer-than-any-column-of-a-terminal-has-room-for"
    runs = [make_run("a", digests, outputs, targets), make_run(long, digests, outputs[::-1], targets)]
    program = "import sys; sys.modules['tensorflow'] = None; import runpy; sys.argv = sys.argv[1:]; "
    program += "runpy.run_path(sys.argv[0], run_name='__main__')"
    words = [*map(str, runs), "--no-latency", "--output", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", program, str(SCRIPT), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "60 test images that every run held out" in done.stdout and "McNemar p = " in done.stdout
    assert all(len(line) <= 80 for line in done.stdout.splitlines() if not line.startswith("Plot:"))
    assert (tmp_path / "out" / "compare.png").read_bytes().startswith(b"\x89PNG")


def test_an_output_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    words = [str(tmp_path), str(tmp_path), "--output", str(tmp_path / "file" / "below")]
    done = subprocess.run([sys.executable, str(SCRIPT), *words], capture_output=True, text=True)
    assert done.returncode == 2 and "file is a file. Give a folder." in done.stderr


def test_latency_is_measured(make_run):
    digests, outputs, targets = some()
    runs = [make_run(name, digests, outputs, targets) for name in "ab"]
    assert all(row["milliseconds"] > 0 for row in compare(runs)["runs"])
