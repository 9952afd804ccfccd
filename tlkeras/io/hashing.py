"""Hashes of files, arrays and JSON, all of them hexadecimal SHA-256 unless said otherwise."""

import hashlib
import itertools
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
    """Return the hash of files, of their contents and of their names in a folder; what is no file is left out."""
    files = (path for path in paths if path.is_file())
    named = (part for path in files for part in (f"{path.relative_to(folder).as_posix()}\0", path.read_bytes()))
    return stream_hash([prefix], named)


def array_digest(arrays: Iterable[Any], prefix: str = "") -> str:
    """Return the hash of the exact bits of arrays or Keras variables, of their dtypes and shapes."""
    taken = map(np.asarray, arrays)
    return stream_hash([prefix], (part for array in taken for part in (f"{array.dtype}{array.shape}", array)))


def content_digest(row: np.ndarray | str | bytes) -> str:
    """Return 16 digits (BLAKE2b) that tell whether another decoded example is the same, whatever its file."""
    if isinstance(row, np.ndarray):
        row = row.tobytes()
    return hashlib.blake2b(row.encode() if isinstance(row, str) else row, digest_size=8).hexdigest()


def json_hash(value: Any) -> str:
    """Return the hash of a value as JSON, whatever the order of its keys; what JSON cannot hold counts as its `str`."""
    return stream_hash([json.dumps(value, sort_keys=True, default=str)])


def stream_hash(*streams: Iterable[str | bytes | memoryview | np.ndarray]) -> str:
    """Return the hash of pieces one after the other, each of which may be gone from memory when the next one comes."""
    result = hashlib.sha256()
    for piece in itertools.chain.from_iterable(streams):
        if isinstance(piece, np.ndarray) and piece.dtype == object:  # strings, which count by their content
            piece = repr(piece.tolist())
        elif isinstance(piece, np.ndarray):
            piece = np.ascontiguousarray(piece).reshape(-1).view(np.uint8).data  # bfloat16 too, which gives no buffer
        result.update(piece.encode() if isinstance(piece, str) else piece)
    return result.hexdigest()
