"""Files that are there whole or not at all, whatever happens, a power cut too."""

import os
from pathlib import Path


def write_atomic(path: Path, content: bytes | memoryview) -> None:
    """Write a file beside, flush it to the disk, and rename it to its place.

    Raises:
        OSError: the disk is full; a file that was there is untouched.
    """
    partial = path.with_name(".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    flush(path.parent)


def flush_tree(folder: Path) -> None:
    """Make sure that a folder and all that is in it is on the disk."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)


def flush(path: Path) -> None:
    """Make sure that a file's content, or a folder's list of files, is on the disk."""
    if path.is_dir() and os.name == "nt":  # where a folder cannot be opened, and need not be
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
