"""Atomic writes: a file is there complete or not at all, after a power cut too."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def open_atomic(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO]:
    """Open a temporary file beside `path`, which replaces it, flushed to the disk, when the block ends well.

    Text (mode "w") is in UTF-8; `options` are those of `open`. Whatever fails, a file that was there is untouched, and
    nothing else is left.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open(mode, **({} if "b" in mode else {"encoding": "utf-8"}) | options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    flush(path.parent)


def write_atomic(path: Path, content: bytes | memoryview | str) -> None:
    """Write a file atomically, text in UTF-8; see `open_atomic`."""
    with open_atomic(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def flush_tree(folder: Path) -> None:
    """Flush a folder and all that is in it to the disk."""
    for path in [*folder.rglob("*"), folder]:
        flush(path)


def flush(path: Path) -> None:
    """Flush a file's content, or a folder's list of files, to the disk."""
    if path.is_dir() and os.name == "nt":  # where a folder cannot be opened, and need not be
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
