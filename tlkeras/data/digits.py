"""The built-in data set: scikit-learn's handwritten digits, written out once as a folder of classes."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tlkeras.io.paths import cache_dir


def digits_folder() -> Path:
    """The built-in data set as a folder of classes, written on the first call.

    Returns:
        A folder in the cache (see `tlkeras.io.paths`) of 1,797 gray 8x8 PNG pictures in the classes 0 to 9.
    """
    cache = cache_dir()
    target = cache / "digits"
    if target.is_dir():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".digits-") as workshop:
        finished = Path(workshop, "digits")
        _write(finished)
        try:
            finished.rename(target)
        except OSError:
            # Another process was quicker; its folder is as good as ours.
            if not target.is_dir():
                raise
    return target


def _write(root: Path) -> None:
    from sklearn.datasets import load_digits  # here, as the import takes a second that later runs can save

    data = load_digits()
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)
    for number, (picture, digit) in enumerate(zip(pixels, data.target, strict=True)):
        path = root / str(digit) / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
