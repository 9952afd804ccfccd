"""Seconds and resident memory of a whole run of scripts/train.py for more and more images.

    python benchmarks/scale.py

The images are generated: JPEGs of 64 x 64 pixels in two classes. The run has one epoch in each phase, MobileNetV2-0.35
from random weights, and may keep 50 MB of images, and of features, in memory: nearly all goes through the disk.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from arguments import at_least
from PIL import Image

TRAIN = Path(__file__).parents[1] / "scripts" / "train.py"
OPTIONS = ["--backbone", "MobileNetV2-0.35", "--weights", "none", "--image-size", "64", "--frozen-epochs", "1"]
OPTIONS += ["--finetune-epochs", "1", "--unfreeze", "block_16", "--views", "1", "--memory-gb", "0.05"]
CHUNK = 1000  # images that one process makes at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--counts", type=at_least(20), nargs="+", default=[1_000, 10_000, 100_000], help="numbers of images"
    )
    options = parser.parse_args()
    print(f"{'images':>9} {'seconds':>8} {'ms/image':>10} {'peak MB':>8}")
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            make_images(Path(folder) / "images", count)
            seconds, megabytes = measure(Path(folder))
        print(f"{count:>9,} {seconds:>8.1f} {1000 * seconds / count:>10.2f} {megabytes:>8,.0f}", flush=True)


def make_images(folder: Path, count: int) -> None:
    """Write red ones and blue ones, `count` together, each with noise of its own."""
    chunks = [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]
    with ProcessPoolExecutor() as pool:
        list(pool.map(make_chunk, [folder] * len(chunks), chunks))


def make_chunk(folder: Path, numbers: range) -> None:
    """Write the images of some numbers."""
    for number in numbers:
        rng = np.random.default_rng(number)
        coarse = rng.integers(0, 120, (8, 8, 3), dtype=np.uint8)
        coarse[..., 2 * (number % 2)] += 120
        path = folder / ("red", "blue")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(path)


def measure(folder: Path) -> tuple[float, float]:
    """Return the seconds of a run, start of Python and TensorFlow included, and its peak memory in MB."""
    command = [sys.executable, TRAIN, "--data", folder / "images", "--run-dir", folder / "run", *OPTIONS]
    environment = os.environ | {"TLKERAS_CACHE": str(folder / "cache"), "TMPDIR": str(folder)}
    start = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"train.py failed:\n{(folder / 'log.txt').read_text()}")
    shutil.rmtree(folder / "cache")
    return time.perf_counter() - start, usage.ru_maxrss / 1000


if __name__ == "__main__":
    main()
