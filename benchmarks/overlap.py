"""Pictures of DATA that SOURCE has too, at whatever size: who learned from SOURCE is not to be judged by them.

    python benchmarks/overlap.py SOURCE DATA [--without FOLDER]

Both are folders, at any depth. Pictures are compared as 16 x 16 grey values, the whole of each of SOURCE with the whole
and with the middle square of each of DATA; other cuts of a picture are not found. Look at the pairs that are printed:
flat pictures can be alike by chance.
"""

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tlkeras.data.example import DecodeError
from tlkeras.modalities.base import SUFFIXES
from tlkeras.modalities.image import read_rgb

CHUNK = 5000  # pictures of the source at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="pictures that weights were trained on")
    parser.add_argument("data", type=Path, help="pictures that are to be judged")
    parser.add_argument("--least", type=float, default=0.96, help="least correlation of a pair (0.96)")
    parser.add_argument("--without", type=Path, metavar="FOLDER", help="copy the other pictures of DATA to this folder")
    arguments = parser.parse_args()
    if arguments.without and arguments.without.exists():
        sys.exit(f"overlap.py: {arguments.without} exists already; give a folder that does not.")
    source, data = pictures(arguments.source), pictures(arguments.data)
    for folder, found in ((arguments.source, source), (arguments.data, data)):
        if not found:
            sys.exit(f"overlap.py: There are no pictures in {folder}.")
    twice = {}
    for mine, other, likeness in nearest(source, data):
        if likeness >= arguments.least:
            twice[mine] = other
            print(f"{likeness:.3f}  {mine.relative_to(arguments.data)}  {other.relative_to(arguments.source)}")
    for folder in sorted({mine.parent for mine in data}):
        inside = [mine for mine in data if mine.parent == folder]
        print(f"{folder.relative_to(arguments.data)}: {sum(mine in twice for mine in inside)} of {len(inside)}")
    for mine in (mine for mine in data if arguments.without and mine not in twice):
        place = arguments.without / mine.relative_to(arguments.data)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(mine, place)


def pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES["pictures"])


def nearest(source: list[Path], data: list[Path]) -> Iterator[tuple[Path, Path, float]]:
    """Each picture of the data, the one of the source that is most like it, and their correlation."""
    whole = np.array([grey(path) for path in data])
    middle = np.array([grey(path, center_crop_resize=True) for path in data])
    best, place = np.full(len(data), -1.0), np.zeros(len(data), int)
    for start in range(0, len(source), CHUNK):
        theirs = np.array([grey(path) for path in source[start : start + CHUNK]])
        likeness = np.maximum(whole @ theirs.T, middle @ theirs.T)
        better = likeness.max(axis=1) > best
        place[better] = start + likeness.argmax(axis=1)[better]
        best = np.maximum(best, likeness.max(axis=1))
    for row in np.argsort(-best):
        yield data[row], source[place[row]], float(best[row])


def grey(path: Path, center_crop_resize: bool = False) -> np.ndarray:
    """A picture as `(256,)` grey values of mean 0 and length 1, or its middle square."""
    try:
        image = read_rgb(path).convert("L")
    except DecodeError as error:
        sys.exit(f"overlap.py: {path} cannot be read: {error}. Take it out of the folder.")
    side, (width, height) = min(image.size), image.size
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side) if center_crop_resize else None
    values = np.asarray(image.resize((16, 16), Image.Resampling.BILINEAR, box), float).ravel()
    values = values - values.mean()
    return values / max(np.linalg.norm(values), 1e-9)


if __name__ == "__main__":
    main()
