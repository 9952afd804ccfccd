"""Images of DATA that SOURCE has too, at whatever size: a model trained on SOURCE must not be evaluated on them.

    python benchmarks/overlap.py SOURCE DATA [--without FOLDER]

Both are folders, at any depth. Images are compared as 16 x 16 gray values, the whole of each of SOURCE with the whole
and with the center square of each of DATA; other crops of an image are not found. Look at the pairs that are printed:
flat images can match by chance.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tlkeras.modalities.base import DecodeError
from tlkeras.modalities.image import ImageModality, read_rgb

CHUNK = 5000  # images of the source at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="images that weights were trained on")
    parser.add_argument("data", type=Path, help="images to evaluate on")
    parser.add_argument("--min-correlation", type=float, default=0.96, help="of a pair (0.96)")
    parser.add_argument("--without", type=Path, metavar="FOLDER", help="copy the other images of DATA to this folder")
    arguments = parser.parse_args()
    if arguments.without and arguments.without.exists():
        sys.exit(f"overlap.py: {arguments.without} exists already; give a folder that does not.")
    source, data = images_in(arguments.source), images_in(arguments.data)
    for folder, found in ((arguments.source, source), (arguments.data, data)):
        if not found:
            sys.exit(f"overlap.py: There are no images in {folder}.")
    twice = {}
    for mine, other, correlation in nearest(source, data):
        if correlation >= arguments.min_correlation:
            twice[mine] = other
            print(f"{correlation:.3f}  {mine.relative_to(arguments.data)}  {other.relative_to(arguments.source)}")
    for folder in sorted({mine.parent for mine in data}):
        inside = [mine for mine in data if mine.parent == folder]
        print(f"{folder.relative_to(arguments.data)}: {sum(mine in twice for mine in inside)} of {len(inside)}")
    for mine in (mine for mine in data if arguments.without and mine not in twice):
        path = arguments.without / mine.relative_to(arguments.data)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mine, path)


def images_in(folder: Path) -> list[Path]:
    """Return all images below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in ImageModality.suffixes)


def nearest(source: list[Path], data: list[Path]) -> Iterator[tuple[Path, Path, float]]:
    """Yield each image of the data, the one of the source that is most like it, and their correlation."""
    whole = np.array([gray(path) for path in data])
    center = np.array([gray(path, center_square=True) for path in data])
    best, index = np.full(len(data), -1.0), np.zeros(len(data), int)
    for start in range(0, len(source), CHUNK):
        theirs = np.array([gray(path) for path in source[start : start + CHUNK]])
        correlation = np.maximum(whole @ theirs.T, center @ theirs.T)
        better = correlation.max(axis=1) > best
        index[better] = start + correlation.argmax(axis=1)[better]
        best = np.maximum(best, correlation.max(axis=1))
    for row in np.argsort(-best):
        yield data[row], source[index[row]], float(best[row])


def gray(path: Path, center_square: bool = False) -> np.ndarray:
    """Return an image, or its center square, as `(256,)` gray values of mean 0 and length 1."""
    try:
        image = read_rgb(path).convert("L")
    except DecodeError as error:
        sys.exit(f"overlap.py: {path} cannot be read: {error}. Take it out of the folder.")
    side, (width, height) = min(image.size), image.size
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side) if center_square else None
    values = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR, box), float).ravel()
    values = values - values.mean()
    return values / max(np.linalg.norm(values), 1e-9)


if __name__ == "__main__":
    main()
