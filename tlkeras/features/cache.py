"""Features on disk: an entry is a folder of arrays with checksums, which appears when it is complete."""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.io.arrays import FileArray
from tlkeras.io.hashing import json_hash, stream_hash

FORMAT = 2  # of the files and of what is in them: another one never reads these
INFO = "info.json"
CHUNK_BYTES = 2**20  # that are hashed at a time, by each core
RESERVE = 2**30  # bytes of the disk that are left free


@dataclass(frozen=True)
class Entry:
    """What is known of an entry from its `info.json` and from its folder.

    Attributes:
        folder: of the entry.
        key: what the features depend on.
        nbytes: of all its files.
        used: when it was last used, in seconds since 1970.
    """

    folder: Path
    key: dict[str, Any]
    nbytes: int
    used: float


class FeatureCache:
    """A folder of features that is bounded in size; the least recently used ones go first."""

    def __init__(self, folder: Path, bound: int) -> None:
        """Take the folder, which need not exist, and the bytes that its entries may take together."""
        self.folder, self.bound = folder, bound

    def entries(self) -> list[Entry]:
        """Return all entries, the most recently used ones first."""
        found = []
        for path in self.folder.glob(f"*/{INFO}"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                info = json.loads(path.read_text(encoding="utf-8"))
                nbytes = sum(file.stat().st_size for file in path.parent.iterdir())
                found.append(Entry(path.parent, info["key"], nbytes, path.stat().st_mtime))
        return sorted(found, key=lambda entry: -entry.used)

    def read(self, key: dict[str, Any], dtype: str) -> list[FileArray] | None:
        """Return the arrays of an entry; None where there is none. A damaged one, as its checksums tell, is removed."""
        folder = self._folder_of(key, dtype)
        try:
            info = json.loads((folder / INFO).read_text(encoding="utf-8"))
            arrays = [FileArray(path.open("rb"), shape, dtype) for path, shape in array_files(folder, info["shapes"])]
            if [checksum(array) for array in arrays] == info["checksums"]:
                os.utime(folder / INFO)
                return arrays
        except FileNotFoundError:
            if not folder.exists():
                return None
        except (OSError, ValueError, KeyError, TypeError):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def has_room(self, nbytes: int) -> bool:
        """Return whether an entry of this size may be written, after old ones have gone for it."""
        parent = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        free = shutil.disk_usage(parent).free + sum(entry.nbytes for entry in self.entries())
        return nbytes <= self.bound and nbytes + RESERVE <= free

    @contextlib.contextmanager
    def writing(self, key: dict[str, Any], shapes: list[list[int]], dtype: str) -> Iterator[list[FileArray]]:
        """Make arrays to fill; they are an entry when the block ends well, and nothing is left when it does not.

        Args:
            key: what the features depend on.
            shapes: of each array, rows first.
            dtype: of all of them.

        Raises:
            OSError: the disk has no room.
        """
        self._make_room(sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize)
        folder = self._folder_of(key, dtype)
        partial = self.folder / f".partial-{os.getpid()}-{folder.name}"
        partial.mkdir(parents=True)
        try:
            arrays = [FileArray.create(path.open("w+b"), shape, dtype) for path, shape in array_files(partial, shapes)]
            yield arrays
            info = {"key": key, "shapes": shapes, "dtype": dtype, "made": time.time()}
            info["checksums"] = [checksum(array) for array in arrays]
            (partial / INFO).write_text(json.dumps(info, indent=2), encoding="utf-8")
            with contextlib.suppress(OSError):  # another run was first, and wrote the same
                partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def clear(self) -> None:
        """Remove all entries and unfinished ones; other files in the folder stay."""
        for folder in [*(entry.folder for entry in self.entries()), *self.folder.glob(".partial-*")]:
            shutil.rmtree(folder, ignore_errors=True)

    def _folder_of(self, key: dict[str, Any], dtype: str) -> Path:
        return self.folder / json_hash({"format": FORMAT, "dtype": dtype} | key)[:32]

    def _make_room(self, nbytes: int) -> None:
        """Remove what killed processes left, then the least recently used entries, until there is room."""
        for path in self.folder.glob(".partial-*"):
            process = int(path.name.split("-")[1])
            if process == os.getpid() or not is_alive(process):  # a killed process may have had our number
                shutil.rmtree(path, ignore_errors=True)
        entries = self.entries()
        total = sum(entry.nbytes for entry in entries)
        while entries and (total + nbytes > self.bound or shutil.disk_usage(self.folder).free < nbytes + RESERVE):
            oldest = entries.pop()
            shutil.rmtree(oldest.folder, ignore_errors=True)
            total -= oldest.nbytes


def array_files(folder: Path, shapes: list[list[int]]) -> list[tuple[Path, list[int]]]:
    """Return the file of each array of an entry, and its shape."""
    return [(folder / f"{number}.bin", shape) for number, shape in enumerate(shapes)]


def checksum(array: FileArray) -> str:
    """Return the hash of an array's content, made of those of its chunks, which all cores compute."""
    rows = max(1, CHUNK_BYTES * len(array) // max(1, array.nbytes))
    with ThreadPoolExecutor() as pool:
        return stream_hash(
            pool.map(lambda start: stream_hash([array[start : start + rows]]), range(0, len(array), rows))
        )


def is_alive(process: int) -> bool:
    """Return whether a process of this number runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
