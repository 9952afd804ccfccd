"""Checkpoints: what is written comes back complete, or not at all."""

import os

import numpy as np
import pytest

from tlkeras.training.checkpoint import Checkpoints

ARRAYS = [np.arange(6, dtype="float32").reshape(2, 3), np.array(7, "int64")]


@pytest.fixture
def checkpoints(tmp_path) -> Checkpoints:
    """Return a folder, missing at first, in which three checkpoints were written."""
    made = Checkpoints(tmp_path / "kept")
    for number in (1, 2, 10):
        made.write(number, {"a": [array + number for array in ARRAYS], "none": []}, {"history": [{"loss": number / 3}]})
    return made


def files(tmp_path) -> list:
    return sorted((tmp_path / "kept").iterdir())


def test_an_empty_folder_has_none(tmp_path):
    assert Checkpoints(tmp_path / "nothing").latest() is None


def test_the_last_one_is_read(checkpoints, tmp_path):
    found = checkpoints.latest()
    assert found.number == 10 and found.state == {"history": [{"loss": 10 / 3}]}
    assert all(np.array_equal(one, two + 10) for one, two in zip(found.arrays["a"], ARRAYS, strict=True))
    assert found.arrays["none"] == []
    assert [array.dtype for array in found.arrays["a"]] == [array.dtype for array in ARRAYS]
    assert len(files(tmp_path)) == 2


@pytest.mark.parametrize("damage", ["cut", "changed", "empty"])
def test_a_damaged_one_is_skipped(checkpoints, tmp_path, caplog, damage):
    newest = files(tmp_path)[-1]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes({"cut": content[:-20], "changed": content, "empty": b""}[damage])
    assert checkpoints.latest().number == 2
    assert newest.name in caplog.text and "damaged" in caplog.text and not newest.exists()


def test_a_full_disk_leaves_the_ones_before(checkpoints, tmp_path, monkeypatch):
    def fsync(handle):
        raise OSError(28, "No space left on device")

    before = files(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space"):
        checkpoints.write(11, {"a": ARRAYS}, {})
    assert files(tmp_path) == before and checkpoints.latest().number == 10


def test_what_a_killed_process_left_goes_with_the_next_one(checkpoints, tmp_path):
    (tmp_path / "kept" / ".000011-0.npz.partial").write_bytes(b"half")
    assert checkpoints.latest().number == 10
    checkpoints.write(11, {"a": ARRAYS}, {})
    assert [path.name[:6] for path in files(tmp_path)] == ["000010", "000011"]
