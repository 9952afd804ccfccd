"""Hashes of files, arrays and JSON, all of them hexadecimal SHA-256 unless said otherwise."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np


def file_hash(path: Path, algorithm: str = "sha256") -> str:
    """Return the hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def tree_hash(folder: Path, paths: Iterable[Path], prefix: bytes = b"") -> str:
    """Return the hash of files in a folder, of their contents and of their names relative to it.

    Args:
        folder: that holds them.
        paths: in the order in which they are hashed; what is no file is left out.
        prefix: is hashed first.
    """
    files = (path for path in paths if path.is_file())
    named = (part for path in files for part in (f"{path.relative_to(folder).as_posix()}\0", path.read_bytes()))
    return stream_hash([prefix], named)


def array_digest(arrays: Iterable[Any], prefix: str = "") -> str:
    """Return the hash of the exact bits of arrays or Keras variables, of their dtypes and shapes.

    Args:
        arrays: in the order in which they are hashed.
        prefix: is hashed first.
    """
    taken = map(np.asarray, arrays)
    return stream_hash([prefix], (part for array in taken for part in (f"{array.dtype}{array.shape}", array)))


def json_hash(value: Any) -> str:
    """Return the hash of a value as JSON, whatever the order of its keys; what JSON cannot hold counts as its `str`."""
    return stream_hash([json.dumps(value, sort_keys=True, default=str)])


def stream_hash(*streams: Iterable[str | bytes | memoryview | np.ndarray]) -> str:
    """Return the hash of pieces one after the other, each of which may be gone from memory when the next one comes.

    Args:
        *streams: of text, bytes and arrays; arrays of strings (dtype object) count by their content.
    """
    result = hashlib.sha256()
    for stream in streams:
        for piece in stream:
            result.update(_as_bytes(piece))
    return result.hexdigest()


def _as_bytes(piece: str | bytes | memoryview | np.ndarray) -> Any:
    if isinstance(piece, np.ndarray):
        return repr(piece.tolist()).encode() if piece.dtype == object else _raw(piece)
    return piece.encode() if isinstance(piece, str) else piece


def _raw(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)  # bfloat16 too, which gives no buffer
