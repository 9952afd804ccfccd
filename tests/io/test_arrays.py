"""An array in a file reads like one in memory, and never takes the memory of one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tlkeras.io.arrays import FileArray

RNG = np.random.default_rng(0)


@pytest.fixture
def values() -> np.ndarray:
    return RNG.normal(size=(50, 3, 2)).astype("float32")


@pytest.mark.parametrize(
    "rows", [7, np.int64(7), slice(3, 9), slice(None), np.array([9, 2, 2, 49]), np.array([], int)], ids=str
)
def test_rows_are_those_of_an_array_in_memory(values, rows):
    array = FileArray.temporary(values.shape, "float32")
    for start in range(0, 50, 7):
        array[start : start + 7] = values[start : start + 7]
    np.testing.assert_array_equal(array[rows], values[rows])
    assert type(array[rows]) is np.ndarray and array[rows].flags.writeable


def test_what_it_is(values):
    array = FileArray.temporary(values.shape, "float16")
    array[4] = values[4]
    assert (array.shape, array.dtype, len(array), array.nbytes) == ((50, 3, 2), "float16", 50, 600)
    assert np.array_equal(array[4], values[4].astype("float16")) and not array[3].any()
    first = array.shortened(5)
    assert first.shape == (5, 3, 2) and np.array_equal(first[:], array[0:5])


def test_a_file_without_a_name_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    array = FileArray.temporary((10,), "uint8")
    array[0:10] = np.arange(10)
    assert array[9] == 9 and list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space cannot be reserved")
def test_a_disk_without_room_is_an_error_at_once(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        FileArray.temporary((10,), "uint8")


def test_a_file_that_is_cut_off_is_an_error_and_no_crash(tmp_path):
    with (tmp_path / "file").open("w+b") as file:
        array = FileArray.create(file, (10, 2**20), "uint8")
        file.truncate(2**20)
        with pytest.raises(ValueError):
            array[9]


def test_memory_does_not_grow_with_the_file():
    script = """
import resource, numpy as np
from tlkeras.io.arrays import FileArray
array = FileArray.temporary((256, 2**20), "uint8")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, 256, 8):
    array[start : start + 8] = np.full((8, 2**20), 1, "uint8")
for start in range(0, 256, 8):
    assert array[np.arange(start, start + 8)].all() and array[start : start + 8].all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    unit = 1 if sys.platform == "darwin" else 2**10
    assert int(done.stdout) * unit < 2**26, "a quarter of the file"
