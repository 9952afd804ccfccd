"""The run's folder is whole or not there, and never another run's."""

import logging
import os
from pathlib import Path

import pytest

from tlkeras.errors import UserError
from tlkeras.run import folder
from tlkeras.run.folder import choose_run_dir, writing


def names(place: Path) -> list[str]:
    return sorted(entry.name for entry in place.iterdir())


def test_it_appears_when_it_is_whole(tmp_path):
    log = logging.getLogger("tlkeras")
    before = (log.handlers[:], log.level, log.propagate)
    with writing(tmp_path / "a" / "run") as partial:
        (partial / "model.keras").write_text("model")
        assert names(tmp_path / "a") == [partial.name] and partial.name.startswith(".")
        log.info("said")
    assert names(tmp_path / "a") == ["run"] and names(tmp_path / "a" / "run") == ["log.txt", "model.keras"]
    assert "said" in (tmp_path / "a" / "run" / "log.txt").read_text()
    assert (log.handlers, log.level, log.propagate) == before


@pytest.mark.parametrize("error", [UserError, ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(tmp_path, error):
    with pytest.raises(error), writing(tmp_path / "a" / "b" / "run") as partial:
        (partial / "model.keras").write_text("half a model")
        raise error
    assert names(tmp_path) == []


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a" / "run").mkdir(parents=True)
    (tmp_path / "a" / "run" / "config.yaml").write_text("old")
    with pytest.raises(UserError), writing(tmp_path / "a" / "run"):
        raise UserError("wrong")
    assert names(tmp_path / "a") == ["run"] and names(tmp_path / "a" / "run") == ["config.yaml"]


def test_replacing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.txt").write_text("old")
    with writing(tmp_path / "run") as partial:
        assert names(tmp_path / "run") == ["old.txt"]
        (partial / "new.txt").write_text("new")
    assert names(tmp_path) == ["run"] and names(tmp_path / "run") == ["log.txt", "new.txt"]


def test_a_run_that_appeared_meanwhile_is_kept(tmp_path):
    """Two programs were given one folder: the second one's work is kept too, under another name."""
    with pytest.raises(UserError, match=r"This run lies in .*run-2\."), writing(tmp_path / "run") as partial:
        (partial / "mine.txt").write_text("mine")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "theirs.txt").write_text("theirs")
    assert names(tmp_path) == ["run", "run-2"]
    assert names(tmp_path / "run") == ["theirs.txt"] and "mine.txt" in names(tmp_path / "run-2")


def test_default_names(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "RUNS", tmp_path)
    assert choose_run_dir(None, False, "/data/My Pets.csv", "ResNet50") == tmp_path / "my-pets-resnet50"
    with writing(tmp_path / "pets-vgg16"):
        assert choose_run_dir(None, False, "pets", "VGG16") == tmp_path / "pets-vgg16-2"
    assert choose_run_dir(None, False, "pets", "VGG16") == tmp_path / "pets-vgg16-2"
    assert choose_run_dir(None, False, "pet", "VGG16") == tmp_path / "pet-vgg16"
    assert choose_run_dir(None, False, "tfds:beans", "VGG16") == tmp_path / "tfds-beans-vgg16"
    assert choose_run_dir(None, False, "犬", "VGG16").parent == tmp_path


def test_overwrite_takes_only_runs_and_empty_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0")
    (tmp_path / "file").write_text("")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("")
    for name in ("empty", "run"):
        assert choose_run_dir(str(tmp_path / name), True, "pets", "VGG16") == tmp_path / name
    for name in ("file", "work"):
        with pytest.raises(UserError, match="not a run's folder"):
            choose_run_dir(str(tmp_path / name), True, "pets", "VGG16")
    for name in ("empty", "run", "file", "work"):
        with pytest.raises(UserError, match="exists already"):
            choose_run_dir(str(tmp_path / name), False, "pets", "VGG16")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_place_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be made: Permission denied"), writing(tmp_path / "run"):
        pass
