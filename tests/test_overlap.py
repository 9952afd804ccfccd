"""`benchmarks/overlap.py` finds an image that is there again smaller, squashed or cropped to its center."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

OVERLAP = Path(__file__).parents[1] / "benchmarks" / "overlap.py"


def find(*arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, OVERLAP, *map(str, arguments)], capture_output=True, text=True)


def test_an_image_that_is_there_twice(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 9, 3), dtype=np.uint8)
    mine, theirs = tmp_path / "mine" / "bees", tmp_path / "source" / "0"
    mine.mkdir(parents=True)
    theirs.mkdir(parents=True)
    for number, pixels in enumerate(noise):
        image = Image.fromarray(pixels).resize((360, 240), Image.Resampling.BICUBIC)
        image.save(mine / f"{number}.jpg")
        if number == 0:
            image.resize((64, 64)).save(theirs / "squashed.tif")
        if number == 1:
            image.crop((60, 0, 300, 240)).resize((64, 64)).save(theirs / "center.JPEG")
    done = find(tmp_path / "source", tmp_path / "mine", "--without", tmp_path / "rest")
    assert done.returncode == 0, done.stderr
    *pairs, counts = done.stdout.splitlines()
    assert {tuple(pair.split()[1:]) for pair in pairs} == {
        ("bees/0.jpg", "0/squashed.tif"),
        ("bees/1.jpg", "0/center.JPEG"),
    }
    assert counts == "bees: 2 of 4"
    assert {path.name for path in (tmp_path / "rest" / "bees").iterdir()} == {"2.jpg", "3.jpg"}
    again = find(tmp_path / "source", tmp_path / "mine", "--without", tmp_path / "rest")
    assert again.returncode == 1 and "exists already" in again.stderr
    assert "There are no images in" in find(tmp_path / "nowhere", tmp_path / "mine").stderr
    assert find(tmp_path / "source", tmp_path / "mine", "--min-correlation", 1.1).stdout == "bees: 0 of 4\n"
    (mine / "4.png").write_bytes(b"no image")
    refused = find(tmp_path / "source", tmp_path / "mine")
    assert refused.returncode == 1 and "4.png cannot be read: not a valid" in refused.stderr
    assert "Traceback" not in refused.stderr
