"""An untrusted model is checked before Keras opens it."""

import zipfile
from pathlib import Path

import pytest

from tlkeras.errors import UserError
from tlkeras.io import archives
from tlkeras.io.archives import check_model_file

MEMBERS = ("config.json", "model.weights.h5", "metadata.json")


def archive(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "x" * 100)
    return path


def test_an_ordinary_archive_is_accepted(tmp_path):
    check_model_file(archive(tmp_path / "model.keras", *MEMBERS, "assets/words.txt", "./"))


@pytest.mark.parametrize(
    "name", ["../evil.py", "/etc/evil", "assets/../../evil", "C:\\evil.py", "a\\..\\..\\evil", "./../x"]
)
def test_files_outside_of_the_folder_are_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"model.keras is not opened: .* outside of their folder"):
        check_model_file(archive(tmp_path / "model.keras", *MEMBERS, name))


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_MODEL_BYTES", 299)
    with pytest.raises(UserError, match="unpacked it is larger than"):
        check_model_file(archive(tmp_path / "model.keras", *MEMBERS))


@pytest.mark.parametrize("missing", ["config.json", "model.weights.h5"])
def test_an_archive_without_a_model_is_refused(tmp_path, missing):
    with pytest.raises(UserError, match="this one lacks them"):
        check_model_file(archive(tmp_path / "model.keras", *(set(MEMBERS) - {missing})))


def test_a_damaged_archive_is_refused(tmp_path):
    path = archive(tmp_path / "model.keras", *MEMBERS)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="this is none, or a damaged one"):
        check_model_file(path)
