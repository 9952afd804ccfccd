"""Report and model card of whole runs: written at the end of a training and by evaluate.py, never at a run's cost."""

import logging
import re
import shutil

import numpy as np
import pytest
import yaml

import tlkeras
from tlkeras.run import report
from tlkeras.run.evaluate import evaluate_run
from tlkeras.run.report import changed_options, report_evaluation


def invert(model, images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return images in place of those with maps, which need another part."""
    assert images.dtype == np.uint8 and images.ndim == 4 and classes.shape == (len(images),) and classes.max() <= 1
    return 255 - images


def arrays(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.tile(["dark", "light"], count // 2)
    images = rng.integers(0, 90, (count, 16, 16, 3)) + np.where(labels == "light", 20, 0)[:, None, None, None]
    return images.astype("uint8"), labels


def train(folder, name: str):
    return tlkeras.train(
        data=arrays(), backbone=name, weights="none", epochs=(1, 1), cache_gb=0, views=1, dropout=0.5, run_dir=folder
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_backbone):
    with pytest.MonkeyPatch.context() as patch, tiny_backbone() as name:
        patch.setattr(report, "draw_maps", invert)
        yield train(tmp_path_factory.mktemp("report") / "run", name)


def test_a_training_writes_its_report_and_card(run):
    text = (run / "report.html").read_text()
    assert "Tiny" in text and "--dropout" in text and "Loss over 2 epochs" in text and "in red.</p>" in text
    assert all(f"{split.capitalize()}: accuracy" in text for split in ("train", "validation", "test"))
    assert f"Report: {run / 'report.html'}" in (run / "log.txt").read_text()
    card = (run / "MODEL_CARD.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert front["model-index"][0]["results"][0]["dataset"]["split"] == "test" and "Tiny" in front["tags"]


def test_an_evaluation_writes_the_same_and_other_data_a_report_of_their_own(run, monkeypatch):
    monkeypatch.setattr(report, "draw_maps", invert)
    before = (run / "report.html").read_text()
    loaded, model, parts = evaluate_run(run, arrays(20))
    path = report_evaluation(loaded, model, parts, "new/other photos")
    assert path.name == "report.html" and path.parent.name.startswith("evaluation-other-photos-")
    text = path.read_text()
    assert "The run was trained on 14 of these 20 images" in text  # half of the same arrays
    assert "evaluated on other data" in text and "All: accuracy" in text and "Validation: accuracy" not in text
    assert (run / "report.html").read_text() == before and not (path.parent / "MODEL_CARD.md").exists()
    own = {"test": parts["all"]}  # data in memory cannot be found again, so others stand for them
    assert report_evaluation(loaded, model, own, None) == run / "report.html"
    assert "Validation: accuracy" in (run / "report.html").read_text()


def test_a_run_is_kept_where_its_report_fails(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr("tlkeras.evaluation.report.render_report", lambda *_: 1 / 0)
    run = train(tmp_path / "run", tiny)
    log = (run / "log.txt").read_text()
    assert "the report could not be written (ZeroDivisionError: division by zero)" in log and "Report:" not in log
    assert (run / "model.keras").exists() and not list(run.glob("*.html*"))


def test_a_run_of_an_earlier_version_has_a_report_too(run, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(report, "draw_maps", invert)
    loaded, model, parts = evaluate_run(run, arrays(20))
    old = shutil.copytree(run, tmp_path / "old")
    for name in ("thresholds.json", "metrics.json", "history.csv", "predictions.npz", "report.html"):
        (old / name).unlink()
    with caplog.at_level(logging.WARNING, "tlkeras"):
        examined = {"test": parts["all"]}
        path = report_evaluation(type(loaded)(**vars(loaded) | {"path": old}), model, examined, None)
    assert path == old / "report.html", caplog.text
    assert re.search("An earlier version wrote this run: .*thresholds.json", path.read_text())


def test_options_at_their_default_are_not_listed():
    config = {"dropout": 0.2, "mixup": 0.3, "run_dir": "x", "head_learning_rate": 1e-3, "weights": "imagenet"}
    assert changed_options(config) == {"--mixup": "0.3"}
    assert "--head-learning-rate" in changed_options(config | {"weights": "none"})


def test_without_a_test_split_the_report_and_the_card_say_that_validation_chose_the_epoch(tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(report, "draw_maps", invert)
    images, labels = arrays()
    data = {"train": (images[:28], labels[:28]), "validation": (images[28:], labels[28:])}
    options = {"weights": "none", "epochs": (1, 0), "cache_gb": 0, "views": 1}
    run = tlkeras.train(data=data, backbone=tiny, run_dir=tmp_path / "run", **options)
    for name in ("report.html", "MODEL_CARD.md"):
        assert "metrics are slightly optimistic" in " ".join((run / name).read_text().split())
    assert "like those of the validation data" in (run / "MODEL_CARD.md").read_text()
