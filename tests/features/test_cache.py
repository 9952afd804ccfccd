"""The cache of features: never wrong, never too large, and without partial entries."""

import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkeras.features.cache import FeatureCache, digest_model
from tlkeras.features.split_model import split_model
from tlkeras.io import cache_dir
from tlkeras.models.builders import build_classifier

KEY = {"features": "made"}
ROWS = 50


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """Return an empty cache of the test's own."""
    monkeypatch.setenv("TLKERAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(cache: FeatureCache, key: dict = KEY, rows: int = ROWS, value: float = 1.0) -> None:
    with cache.writing(key, [[rows, 10], [rows, 2, 3]], "float32") as unfinished:
        for array in unfinished.arrays:
            array[0:rows] = np.full(array.shape, value)


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("damage", ["cut off", "changed", "gone", "no info", "half an info", "other info"])
def test_an_incomplete_entry_is_not_read(folder, damage):
    cache = FeatureCache(folder, 10**9)
    fill(cache)
    file, info = next(folder.glob("*/0.bin")), next(folder.glob("*/info.json"))
    if damage == "cut off":
        os.truncate(file, 100)
    elif damage == "changed":
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "gone":
        file.unlink()
    elif damage == "no info":
        info.unlink()
    else:
        info.write_text("[]" if damage == "other info" else info.read_text()[:50])
    assert cache.read(KEY, "float32") is None
    assert entries(folder) == set()


def test_a_pass_that_is_stopped_leaves_nothing(folder):
    cache = FeatureCache(folder, 10**9)
    with pytest.raises(KeyboardInterrupt), cache.writing(KEY, [[5, 2]], "float32") as unfinished:
        unfinished.arrays[0][0:2] = np.ones((2, 2))
        raise KeyboardInterrupt
    assert cache.read(KEY, "float32") is None
    assert entries(folder) == set()


def test_what_a_killed_process_left_goes_with_the_next_entry(folder):
    script = (
        "import os, sys, pathlib\nfrom tlkeras.features.cache import FeatureCache\n"
        "cache = FeatureCache(pathlib.Path(sys.argv[1]), 10**9)\n"
        "with cache.writing({'of': 'the dead'}, [[5, 2]], 'float32'): os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(folder)]).returncode == 9
    assert len(entries(folder)) == 1
    fill(FeatureCache(folder, 10**9))
    assert [entry.key for entry in FeatureCache(folder, 10**9).entries()] == [KEY]
    assert not any(name.startswith(".partial") for name in entries(folder))


def test_what_is_written_in_slices_is_read_by_rows(folder, monkeypatch):
    monkeypatch.setattr("tlkeras.features.cache.CHUNK_BYTES", 100)
    cache, rng = FeatureCache(folder, 10**9), np.random.default_rng(0)
    values = rng.normal(size=(ROWS, 3)).astype("float16")
    with cache.writing(KEY, [[ROWS, 3]], "float16") as unfinished:
        (array,) = unfinished.arrays
        for start in range(0, ROWS, 7):
            array[start : start + 7] = values[start : start + 7]
    (array,) = cache.read(KEY, "float16")
    rows = rng.permutation(ROWS)[:30]
    np.testing.assert_array_equal(array[rows], values[rows])
    assert array.shape == (ROWS, 3) and array.dtype == "float16"


def test_the_bound_holds_and_the_least_recently_used_entry_goes(folder):
    size = ROWS * 16 * 4
    cache = FeatureCache(folder, 2 * size + 2000)
    for number in range(3):
        fill(cache, {"number": number})
        os.utime(next(entry.folder for entry in cache.entries() if entry.key == {"number": number}) / "info.json",
                 (number, number))  # fmt: skip
        if number == 1:
            assert cache.read({"number": 0}, "float32") is not None
    assert [entry.key["number"] for entry in cache.entries()] == [0, 2]
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) <= cache.bound
    assert cache.has_room(size) and not cache.has_room(cache.bound + 1)


def test_an_entry_that_is_removed_while_it_is_read_can_be_read_to_its_end(folder):
    cache = FeatureCache(folder, 10**9)
    fill(cache)
    arrays = cache.read(KEY, "float32")
    cache.clear()
    assert arrays[0][np.arange(ROWS)].sum() == ROWS * 10


def test_the_folder_of_the_cache(monkeypatch, tmp_path):
    assert cache_dir() == tmp_path / "cache"
    monkeypatch.delenv("TLKERAS_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "tlkeras"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_dir() == tmp_path / "home" / ".cache" / "tlkeras"


def test_the_digest_of_a_model_tells_wiring_and_operations_but_not_automatic_names():
    """`ops.flip` between two layers has no layer of its own; a cache that overlooked it would give stale features."""

    def build(flip: bool) -> keras.Model:
        images = keras.Input((4, 4, 3))
        pixels = keras.ops.flip(images, -1) if flip else images
        return keras.Model(images, keras.layers.Conv2D(2, 1, kernel_initializer="ones")(pixels))

    assert digest_model(build(True)) == digest_model(build(True)) != digest_model(build(False))


def test_the_digest_of_what_is_split_off_is_the_same_in_a_second_model(tiny):
    def below() -> keras.Model:
        keras.utils.set_random_seed(0)
        return split_model(build_classifier(tiny, 3, weights="none", image_size=16), 0).below

    assert digest_model(below()) == digest_model(below())
