"""scripts/cache.py: what is kept, and how it is removed."""

import numpy as np
import pytest

from tlkeras.features.cache import FeatureCache


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A cache of two entries, in a folder that holds something else too."""
    monkeypatch.setenv("TLKERAS_CACHE", str(tmp_path / "cache"))
    for examples, data in ((1200, "photos"), (7, "")):
        key = {"features": "VGG16 at 224 px, pooled", "examples": examples, "views": 4}
        with FeatureCache(tmp_path / "cache", 10**9).writing(key, [[examples, 250]], "float32", data) as unfinished:
            unfinished.arrays[0][0:1] = np.ones((1, 250))
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    return tmp_path / "cache"


def test_list(kept, call):
    out = call("cache.py").out
    assert "1,200     4 photos VGG16 at 224 px, pooled" in out and "7     4 -      VGG16" in out
    assert out.splitlines()[-1] == f"2 entries, 1.2 MB in {kept}"


def test_clear_removes_the_entries_and_nothing_else(kept, call):
    assert call("cache.py", "--clear").out == f"Removed 2 entries, 1.2 MB from {kept}.\n"
    assert [path.name for path in kept.iterdir()] == ["notes.txt"]
    assert call("cache.py").out == f"{kept} holds no features.\n"
