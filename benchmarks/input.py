"""Images per second of the input alone, for images of 256 pixels and of 12 megapixels.

    python benchmarks/input.py

Against `keras.utils.image_dataset_from_directory`, both to 224 x 224 pixels, on generated JPEGs, in turns. tlkeras
decodes each image once in a run, the plain loop once in every epoch; counted is one time each.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from arguments import at_least
from PIL import Image

from tlkeras.data.loading import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.modalities.image import ImageModality
from tlkeras.runtime import load_tensorflow

SIZE = 224
CASES = {"256 px": (1000, (256, 256)), "12 megapixels": (40, (4000, 3000))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=at_least(1), default=5)
    options = parser.parse_args()
    load_tensorflow()
    print(f"{'JPEGs of':<14} {'tlkeras img/s':>14} {'Keras img/s':>12} {'ratio':>6}  range of the ratio")
    for name, (count, size) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            make_images(Path(folder), count, size)
            rounds = [(ours(folder), plain(folder)) for _ in range(options.rounds)]
        fast, slow = (count / median(column) for column in zip(*rounds, strict=True))
        ratios = [other / own for own, other in rounds]
        print(f"{name:<14} {fast:>14.0f} {slow:>12.0f} {median(ratios):>6.1f}  {min(ratios):.1f}–{max(ratios):.1f}")


def make_images(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write two classes of clouds with a little noise, about as hard to decode as photographs."""
    rng = np.random.default_rng(0)
    clouds = Image.fromarray(rng.integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8))
    pixels = np.asarray(clouds.resize(size, Image.Resampling.BICUBIC)).astype(int)
    image = Image.fromarray((pixels + rng.normal(0, 4, pixels.shape)).clip(0, 255).astype("uint8"))
    for number in range(count):
        path = folder / ("a", "b")[number % 2] / f"{number}.jpg"
        path.parent.mkdir(exist_ok=True)
        image.save(path, quality=90) if number < 2 else path.write_bytes((folder / "a" / "0.jpg").read_bytes())


def ours(folder: str) -> float:
    """Return the seconds to decode all images with tlkeras."""
    start = time.perf_counter()
    decode_all(find_examples(folder).examples, ImageModality(SIZE), 0.0)
    return time.perf_counter() - start


def plain(folder: str) -> float:
    """Return the seconds of one epoch of Keras' own dataset."""
    import keras

    start = time.perf_counter()
    dataset = keras.utils.image_dataset_from_directory(folder, image_size=(SIZE, SIZE), verbose=False).prefetch(2)
    for _ in dataset:
        pass
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
