"""Checks of the benchmarks' arguments: a count that is too small to measure anything is refused, not passed over."""

import argparse
from collections.abc import Callable
from pathlib import Path


def at_least(minimum: int) -> Callable[[str], int]:
    """Return an argparse type for whole numbers from `minimum` on."""

    def read(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise argparse.ArgumentTypeError(f"it was {text}; it must be a whole number of at least {minimum}")
        return int(text)

    return read


def train_val_folder(text: str) -> Path:
    """Return an argparse value: a folder with the folders train and val."""
    folder = Path(text)
    if missing := [name for name in ("train", "val") if not (folder / name).is_dir()]:
        raise argparse.ArgumentTypeError(f"{text} has no folder {' or '.join(missing)}")
    return folder
