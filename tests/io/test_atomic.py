"""A file is there complete or not at all."""

import csv
import os
import subprocess
import sys

import pytest

from tlkeras.io.atomic import flush_tree, open_atomic, write_atomic


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", [b"new", memoryview(b"new"), "n\u00e9w"])
def test_it_replaces_what_was_there(tmp_path, content):
    (tmp_path / "file").write_text("old")
    write_atomic(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert names(tmp_path) == ["file"]


def test_text_is_written_by_others(tmp_path):
    with open_atomic(tmp_path / "rows.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(("\u72ac", 1))
        assert "rows.csv" not in names(tmp_path)
    assert (tmp_path / "rows.csv").read_bytes() == "\u72ac,1\n".encode()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    write_atomic(tmp_path / "file", "old")
    with pytest.raises(error), open_atomic(tmp_path / "file") as file:
        file.write(b"half")
        raise error
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_a_full_disk(tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        write_atomic(tmp_path / "file", b"new")
    assert names(tmp_path) == []


def test_what_a_killed_process_left_is_written_over(tmp_path):
    script = (
        "import os, pathlib, sys\nfrom tlkeras.io.atomic import open_atomic\n"
        "with open_atomic(pathlib.Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path / "file")]).returncode == 9
    assert names(tmp_path) == [".file.partial"]
    write_atomic(tmp_path / "file", b"whole")
    assert names(tmp_path) == ["file"]


def test_a_folder_is_flushed_with_all_in_it(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_text("")
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    flush_tree(tmp_path)
    assert flushed[-1] == tmp_path.stat().st_ino and len(flushed) == 3
