"""Seconds and resident memory of scripts/train.py, and of predict.py --output, for more and more images.

    python benchmarks/scale.py
    python benchmarks/scale.py --memory-gb 0.5 --disk-gb 1 --cache-gb 1    # 500 MB of memory, 2 GB of disk

The images are generated: JPEGs of 64 x 64 pixels in two classes. The run has one epoch in each phase, MobileNetV2-0.35
from random weights, and may keep 50 MB of images, and of features, in memory: nearly all goes through the disk, or,
where that has no room, images are decoded in each epoch. The model then predicts the same images from a list.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from arguments import at_least
from PIL import Image

SCRIPTS = Path(__file__).parents[1] / "scripts"
OPTIONS = ["--backbone", "MobileNetV2-0.35", "--weights", "none", "--image-size", "64", "--frozen-epochs", "1"]
OPTIONS += ["--finetune-epochs", "1", "--unfreeze", "block_16", "--views", "1"]
FEW = 10_000
CHUNK = 1000  # images that one process makes at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--counts", type=at_least(20), nargs="+", default=[1_000, 10_000, 100_000], help="numbers of images"
    )
    parser.add_argument("--memory-gb", default="0.05", help="of train.py")
    parser.add_argument("--disk-gb", default="1000000", help="of train.py")
    parser.add_argument("--cache-gb", default="10", help="of train.py")
    options = parser.parse_args()
    space = ["--memory-gb", options.memory_gb, "--disk-gb", options.disk_gb, "--cache-gb", options.cache_gb]
    print(f"{'images':>9} {'':8} {'seconds':>8} {'ms/image':>10} {'peak MB':>8}")
    for count in options.counts:
        with tempfile.TemporaryDirectory() as folder:
            make_images(Path(folder) / "images", count)
            root = Path(folder)
            (root / "list.txt").write_text("\n".join(map(str, (root / "images").rglob("*.jpg"))))
            train = ["train.py", "--data", root / "images", "--run-dir", root / "run", *OPTIONS, *space]
            predict = ["predict.py", root / "run", "--from-file", root / "list.txt", "--output", root / "out.csv"]
            for command in (train, predict):
                seconds, megabytes = measure(root, command)
                name = command[0].removesuffix(".py")
                per_image = 1000 * seconds / count
                print(f"{count:>9,} {name:8} {seconds:>8.1f} {per_image:>10.2f} {megabytes:>8,.0f}", flush=True)
    if max(options.counts) < FEW:
        print(f"Fewer than {FEW:,} images: the start of Python and TensorFlow is most of this, not the images.")


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


def measure(folder: Path, command: list) -> tuple[float, float]:
    """Return the seconds of a script, start of Python and TensorFlow included, and its peak memory in MB."""
    command = [sys.executable, SCRIPTS / command[0], *command[1:]]
    environment = os.environ | {"TLKERAS_CACHE": str(folder / "cache"), "TMPDIR": str(folder)}
    start = time.perf_counter()
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command[1]} failed:\n{(folder / 'log.txt').read_text()}")
    return time.perf_counter() - start, usage.ru_maxrss / 1000


if __name__ == "__main__":
    main()
