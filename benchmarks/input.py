"""Pictures a second of the input alone, for pictures of 256 pixels and of 12 megapixels.

    python benchmarks/input.py

Against `keras.utils.image_dataset_from_directory`, both to 224 x 224 pixels, on made JPEGs, in turns. tlkeras decodes
each picture once in a run, the plain loop once in every epoch; counted is one time each.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from tlkeras.data.loading import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.modalities.base import pictures
from tlkeras.runtime import load_tensorflow

SIZE = 224
TYPE_NAMES = {"256 px": (1000, (256, 256)), "12 megapixels": (40, (4000, 3000))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    load_tensorflow()
    print(f"{'JPEGs of':<14} {'tlkeras img/s':>14} {'Keras img/s':>12} {'ratio':>6}  range of the ratio")
    for name, (count, size) in TYPE_NAMES.items():
        with tempfile.TemporaryDirectory() as folder:
            make_pictures(Path(folder), count, size)
            rounds = [(ours(folder), plain(folder)) for _ in range(options.rounds)]
        fast, slow = (count / median(column) for column in zip(*rounds, strict=True))
        ratios = [other / own for own, other in rounds]
        print(f"{name:<14} {fast:>14.0f} {slow:>12.0f} {median(ratios):>6.1f}  {min(ratios):.1f}–{max(ratios):.1f}")


def make_pictures(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Two classes of clouds with a little noise, about as hard to decode as photographs."""
    rng = np.random.default_rng(0)
    clouds = Image.fromarray(rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8))
    pixels = np.asarray(clouds.resize(size, Image.Resampling.BICUBIC)).astype(int)
    picture = Image.fromarray((pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype("uint8"))
    for number in range(count):
        place = folder / ("a", "b")[number % 2] / f"{number}.jpg"
        place.parent.mkdir(exist_ok=True)
        picture.save(place, quality=90) if number < 2 else place.write_bytes((folder / "a" / "0.jpg").read_bytes())


def ours(folder: str) -> float:
    """Seconds to decode all pictures with tlkeras."""
    start = time.perf_counter()
    decode_all(find_examples(folder).examples, pictures(SIZE), 0.0)
    return time.perf_counter() - start


def plain(folder: str) -> float:
    """Seconds of one epoch of Keras' own data set."""
    import keras

    start = time.perf_counter()
    dataset = keras.utils.image_dataset_from_directory(folder, image_size=(SIZE, SIZE), verbose=False).prefetch(2)
    for _ in dataset:
        pass
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
