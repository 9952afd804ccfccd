"""The built-in dataset: scikit-learn's handwritten digits, written once as a folder of classes."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from tlkeras.io import cache_dir


def digits_folder() -> Path:
    """Return the built-in dataset as a folder of classes, written on the first call.

    Returns:
        A folder in the cache (see `tlkeras.io.cache_dir`) of 1,797 gray 8x8 PNG images in the classes 0 to 9.

    Example:
        >>> images = sorted(tlkeras.digits_folder().rglob("*.png"))
    """
    cache = cache_dir()
    target = cache / "digits"
    if target.is_dir():
        return target
    from sklearn.datasets import load_digits  # here, as the import takes a second that later runs can save

    data = load_digits()
    pixels = np.round(data.images * (255 / 16)).astype(np.uint8)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".digits-") as partial:
        finished = Path(partial, "digits")
        for index, (image, digit) in enumerate(zip(pixels, data.target, strict=True)):
            path = finished / str(digit) / f"{index:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
        try:
            finished.rename(target)
        except OSError:
            if not target.is_dir():  # else another process was faster; its folder is as good as ours
                raise
    return target
