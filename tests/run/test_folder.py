"""A run's folder is complete or not there, and never another run's."""

import errno
import logging
import os
from pathlib import Path

import pytest

from tlkeras.errors import Terminated, UserError
from tlkeras.run import folder
from tlkeras.run.folder import checkpoints, choose_run_dir, command_line, is_complete, resume_command, run_directory


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_it_appears_when_it_is_complete(tmp_path):
    log = logging.getLogger("tlkeras")
    before = (log.handlers[:], log.level, log.propagate)
    with run_directory(tmp_path / "a" / "run") as partial:
        (partial / "model.keras").write_text("model")
        assert names(tmp_path / "a") == [".run.lock", ".run.partial"] and partial.name == ".run.partial"
        log.info("said")
    assert names(tmp_path / "a") == ["run"] and names(tmp_path / "a" / "run") == ["log.txt", "model.keras"]
    assert "said" in (tmp_path / "a" / "run" / "log.txt").read_text()
    assert (log.handlers, log.level, log.propagate) == before


@pytest.mark.parametrize("error", [UserError, ValueError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_nothing(tmp_path, error):
    with pytest.raises(error), run_directory(tmp_path / "a" / "b" / "run") as partial:
        (partial / "model.keras").write_text("half a model")
        raise error
    assert names(tmp_path) == []


def test_a_failure_leaves_what_was_there(tmp_path):
    (tmp_path / "a" / "run").mkdir(parents=True)
    (tmp_path / "a" / "run" / "config.yaml").write_text("old")
    with pytest.raises(UserError), run_directory(tmp_path / "a" / "run"):
        raise UserError("wrong")
    assert names(tmp_path / "a") == ["run"] and names(tmp_path / "a" / "run") == ["config.yaml"]


def test_replacing(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old.txt").write_text("old")
    with run_directory(tmp_path / "run", overwrite=True) as partial:
        assert names(tmp_path / "run") == ["old.txt"]
        (partial / "new.txt").write_text("new")
    assert names(tmp_path) == ["run"] and names(tmp_path / "run") == ["log.txt", "new.txt"]


def test_a_link_stays_and_leads_to_the_run(tmp_path):
    (tmp_path / "disk" / "target").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "target")
    path = choose_run_dir(str(tmp_path / "link"), True, None, "pets", "VGG16")
    with run_directory(path, overwrite=True) as partial:
        (partial / "new.txt").write_text("new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "link" / "new.txt").exists()
    assert names(tmp_path / "disk") == ["target"] and names(tmp_path) == ["disk", "link"]


def test_a_folder_that_cannot_be_replaced_is_refused_before_the_training(tmp_path, monkeypatch):
    """As a mounted volume, which nobody can rename."""
    (tmp_path / "volume").mkdir()

    def busy(path: Path, _: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy", str(path))

    monkeypatch.setattr(Path, "rename", busy)
    with (
        pytest.raises(UserError, match=r"is a mounted volume, .* Give a folder in it, such as .*volume/run\."),
        run_directory(tmp_path / "volume", overwrite=True),
    ):
        pytest.fail("this would be the training")
    assert names(tmp_path) == ["volume"]


def test_a_run_that_appeared_meanwhile_is_kept(tmp_path):
    """Two programs were given one folder: the second one's work is kept too, under another name."""
    with pytest.raises(UserError, match=r"This run is kept in .*run-2\."), run_directory(tmp_path / "run") as partial:
        (partial / "mine.txt").write_text("mine")
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "theirs.txt").write_text("theirs")
    assert names(tmp_path) == ["run", "run-2"]
    assert names(tmp_path / "run") == ["theirs.txt"] and "mine.txt" in names(tmp_path / "run-2")


def test_default_names(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "RUNS", tmp_path)
    assert choose_run_dir(None, False, None, "/data/My Pets.csv", "ResNet50") == tmp_path / "my-pets-resnet50"
    with run_directory(tmp_path / "pets-vgg16"):
        assert choose_run_dir(None, False, None, "pets", "VGG16") == tmp_path / "pets-vgg16-2"
    assert choose_run_dir(None, False, None, "pets", "VGG16") == tmp_path / "pets-vgg16-2"
    assert choose_run_dir(None, False, None, "pet", "VGG16") == tmp_path / "pet-vgg16"
    assert choose_run_dir(None, False, None, "tfds:beans", "VGG16") == tmp_path / "tfds-beans-vgg16"
    parts = "train=train[:90%],test=train[90%:]"
    assert (
        choose_run_dir(None, False, None, f"tfds:emnist/letters:{parts}", "VGG16").name == "tfds-emnist-letters-vgg16"
    )
    assert choose_run_dir(None, False, None, f"tfds:/sets/mine/1.0.0:{parts}", "VGG16").name == "tfds-mine-1-0-0-vgg16"
    assert choose_run_dir(None, False, None, "犬", "VGG16").parent == tmp_path


def test_overwrite_takes_only_runs_and_empty_folders(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0")
    (tmp_path / "file").write_text("")
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.txt").write_text("")
    for name in ("empty", "run"):
        assert choose_run_dir(str(tmp_path / name), True, None, "pets", "VGG16") == tmp_path / name
    for name in ("file", "work"):
        with pytest.raises(UserError, match="not a run's folder"):
            choose_run_dir(str(tmp_path / name), True, None, "pets", "VGG16")
    for name in ("empty", "run", "file", "work"):
        with pytest.raises(UserError, match="exists already"):
            choose_run_dir(str(tmp_path / name), False, None, "pets", "VGG16")


def make(path: Path) -> Path:
    path.mkdir()
    return path


def keep_epoch(partial: Path) -> None:
    (partial / "checkpoints").mkdir(exist_ok=True)
    (partial / "checkpoints" / "000001-0.npz").write_text("an epoch")


@pytest.mark.parametrize("error", [KeyboardInterrupt, Terminated, OSError(28, "No space left on device")])
def test_a_stopped_run_can_be_resumed(tmp_path, error):
    with (
        pytest.raises(error if isinstance(error, type) else OSError) as raised,
        run_directory(tmp_path / "run") as partial,
    ):
        keep_epoch(partial)
        raise error
    said = raised.value.args[0] if isinstance(error, type) else raised.value.__notes__[0]
    assert f"resume it with: {resume_command(tmp_path / 'run')}" in said
    assert names(tmp_path) == [".run.partial"]
    with pytest.raises(UserError), run_directory(tmp_path / "run", resume=True) as partial:
        assert names(partial / "checkpoints") == ["000001-0.npz"]
        raise UserError("other data than before")  # which is no reason to lose the epoch
    with run_directory(tmp_path / "run", resume=True) as partial:
        assert names(partial / "checkpoints") == ["000001-0.npz"]
    assert names(tmp_path) == ["run"] and names(tmp_path / "run") == ["log.txt"]


def test_a_mistake_leaves_nothing_to_resume(tmp_path):
    with pytest.raises(UserError), run_directory(tmp_path / "run") as partial:
        keep_epoch(partial)
        raise UserError("the loss became nan")
    assert names(tmp_path) == []


def test_what_a_killed_run_left_is_removed_or_resumed(tmp_path):
    keep_epoch(make(tmp_path / ".run.partial"))
    with pytest.raises(UserError, match=r"started and not finished\. Give --resume"):
        choose_run_dir(str(tmp_path / "run"), False, None, "pets", "VGG16")
    for overwrite, resume in ((True, None), (False, "model.keras")):
        assert choose_run_dir(str(tmp_path / "run"), overwrite, resume, "pets", "VGG16") == tmp_path / "run"
    with run_directory(tmp_path / "run") as partial:
        assert names(partial) == ["log.txt"]


def test_resume_without_a_folder_finds_the_unfinished_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder, "RUNS", tmp_path)
    for number, name in enumerate(("pets-vgg16", "pets-vgg16-2", "pets-vgg16-large", "pets-vgg16-3")):
        partial = make(tmp_path / f".{name}.partial")
        if name != "pets-vgg16-3":  # it had not come to its first epoch
            keep_epoch(partial)
            os.utime(partial / "checkpoints" / "000001-0.npz", (number, number))
    assert choose_run_dir(None, False, "model.keras", "pets", "VGG16") == tmp_path / "pets-vgg16-2"
    assert capsys.readouterr().out == ""
    assert choose_run_dir(None, False, None, "pets", "VGG16") == tmp_path / "pets-vgg16-3"
    assert "pets-vgg16-2 was started and not finished; this command with --resume" in capsys.readouterr().out
    assert choose_run_dir(None, False, "model.keras", "dogs", "VGG16") == tmp_path / "dogs-vgg16"


def test_resume_takes_no_other_folder(tmp_path):
    """A run of another program, or one of which the model is gone."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("seed: 0")
    with pytest.raises(UserError, match="exists already"):
        choose_run_dir(str(tmp_path / "run"), False, "model.keras", "pets", "VGG16")
    (tmp_path / "run" / "model.keras").write_text("")
    assert choose_run_dir(str(tmp_path / "run"), False, "model.keras", "pets", "VGG16") == tmp_path / "run"
    assert is_complete(tmp_path / "run", "model.keras")
    keep_epoch(make(tmp_path / ".run.partial"))  # it was being replaced when it was stopped
    assert not is_complete(tmp_path / "run", "model.keras")


def test_an_error_of_the_program_keeps_the_epochs(tmp_path):
    with pytest.raises(MemoryError) as raised, run_directory(tmp_path / "run") as partial:
        keep_epoch(partial)
        raise MemoryError
    assert "resume=True" in raised.value.__notes__[0]
    assert names(tmp_path) == [".run.partial"]


def test_a_run_that_is_being_written_is_not_resumed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(folder, "RUNS", tmp_path)
    with run_directory(tmp_path / "pets-vgg16") as partial:
        keep_epoch(partial)
        assert choose_run_dir(None, False, "model.keras", "pets", "VGG16") == tmp_path / "pets-vgg16-2"
    assert capsys.readouterr().out == ""


def test_the_command_to_resume(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["scripts/train.py", "--data", "my pets", "--overwrite"])
    assert resume_command(tmp_path) == f"python scripts/train.py --data 'my pets' --run-dir {tmp_path} --resume"
    monkeypatch.setattr("sys.argv", ["scripts/train.py", "--run-dir=x", "--resume"])
    assert resume_command(tmp_path) == "python scripts/train.py --run-dir=x --resume"
    monkeypatch.setattr("sys.argv", ["tlkeras train", "--run-dir", "x"])
    assert resume_command(tmp_path) == "python -m tlkeras train --run-dir x --resume"
    assert command_line("predict", "my run") == "python -m tlkeras predict 'my run'"
    monkeypatch.setattr("sys.argv", ["my_program.py", "--fast"])
    assert resume_command(tmp_path) == f"tlkeras.train(..., run_dir={str(tmp_path)!r}, resume=True)"


def test_all_is_on_the_disk_before_checkpoints_go(tmp_path, monkeypatch):
    """A power cut after the run is complete loses nothing: files first, then the name, then checkpoints go."""
    done = []
    monkeypatch.setattr(folder, "flush_tree", lambda path: done.append(("all", path.name, bool(checkpoints(path)))))
    monkeypatch.setattr(folder, "flush", lambda path: done.append(("name", bool(checkpoints(tmp_path / "run")))))
    with run_directory(tmp_path / "run") as partial:
        keep_epoch(partial)
    assert done == [("all", ".run.partial", True), ("name", True)]
    assert not checkpoints(tmp_path / "run")


def test_two_programs_do_not_write_one_run(tmp_path):
    with run_directory(tmp_path / "run"):
        with (
            pytest.raises(UserError, match="being written by another program"),
            run_directory(tmp_path / "run", resume=True),
        ):
            pass
        assert ".run.partial" in names(tmp_path)
    assert names(tmp_path) == ["run"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="cannot be made: Permission denied"), run_directory(tmp_path / "run"):
        pass
