"""Features on disk: an entry is a folder of raw arrays with checksums, written beside and renamed when whole."""

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.io.arrays import FileArray

FORMAT = 1  # of the files and of what is in them: another one never reads these
SHARD_BYTES = 2**28
RESERVE = 2**30  # bytes of the disk that are left free


class ShardedArray:
    """One array in several files of equal length; it reads rows by an index array, and writes slices of them."""

    def __init__(self, shards: Sequence[FileArray]) -> None:
        """Take the shards in order; all but the last have the length of the first."""
        self.shards = shards
        self.shape = (sum(map(len, shards)), *shards[0].shape[1:])
        self.dtype = shards[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        values = np.empty((len(rows), *self.shape[1:]), self.dtype)
        numbers = rows // len(self.shards[0])
        for number in np.unique(numbers):
            places = np.flatnonzero(numbers == number)
            values[places] = self.shards[number][rows[places] % len(self.shards[0])]
        return values

    def __setitem__(self, rows: slice, values: np.ndarray) -> None:
        for number, shard in enumerate(self.shards):
            start, stop = (min(max(place - number * len(self.shards[0]), 0), len(shard))
                           for place in (rows.start, rows.stop))  # fmt: skip
            if start < stop:
                first = start + number * len(self.shards[0]) - rows.start
                shard[start:stop] = values[first : first + stop - start]


@dataclass(frozen=True)
class Entry:
    """What `info.json` of an entry says, and the bytes and last use of its folder.

    Attributes:
        folder: where it lies.
        key: what the features depend on.
        nbytes: of all its files.
        used: seconds since 1970.
    """

    folder: Path
    key: dict[str, Any]
    nbytes: int
    used: float


class FeatureCache:
    """A folder of features that is bounded in size; what was not used for longest goes first."""

    def __init__(self, folder: Path, bound: int) -> None:
        """Take the folder, which need not exist, and the bytes that its entries may take together."""
        self.folder, self.bound = folder, bound

    def entries(self) -> list[Entry]:
        """All whole entries, those used last first."""
        found = []
        for path in self.folder.glob("*/info.json"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                info = json.loads(path.read_text(encoding="utf-8"))
                nbytes = sum(file.stat().st_size for file in path.parent.iterdir())
                found.append(Entry(path.parent, info["key"], nbytes, path.stat().st_mtime))
        return sorted(found, key=lambda entry: -entry.used)

    def read(self, key: dict[str, Any], dtype: str) -> list[ShardedArray] | None:
        """The arrays of an entry, checked against their checksums; None where there is none. A damaged one goes."""
        folder = self.folder / digest(key, dtype)
        try:
            info = json.loads((folder / "info.json").read_text(encoding="utf-8"))
            names = list(info["checksums"])
            with ThreadPoolExecutor() as pool:
                whole = list(pool.map(checksum, [folder / name for name in names])) == list(info["checksums"].values())
            if whole:
                os.utime(folder / "info.json")
                return open_arrays(folder, info["shapes"], dtype, "rb")
        except FileNotFoundError:
            if not folder.exists():
                return None
        except (OSError, ValueError, KeyError):
            pass
        shutil.rmtree(folder, ignore_errors=True)
        return None

    def has_room(self, nbytes: int) -> bool:
        """Whether an entry of this size may be written, after old ones have gone for it."""
        place = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        return nbytes <= self.bound and nbytes + RESERVE <= shutil.disk_usage(place).free + self._total()

    @contextlib.contextmanager
    def writing(self, key: dict[str, Any], shapes: list[list[int]], dtype: str) -> Iterator[list[ShardedArray]]:
        """Arrays to fill; the entry is there when the block ends well, and nothing is left when it does not.

        Args:
            key: what the features depend on.
            shapes: of each array, rows first.
            dtype: of all of them.
        """
        self._make_room(sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize)
        partial = self.folder / f".partial-{os.getpid()}-{digest(key, dtype)}"
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had the same number
        partial.mkdir(parents=True)
        try:
            yield open_arrays(partial, shapes, dtype, "w+b")
            files = sorted(partial.iterdir())
            with ThreadPoolExecutor() as pool:
                sums = dict(zip([file.name for file in files], pool.map(checksum, files), strict=True))
            info = {"key": key, "shapes": shapes, "dtype": dtype, "checksums": sums, "made": time.time()}
            (partial / "info.json").write_text(json.dumps(info, indent=2), encoding="utf-8")
            with contextlib.suppress(OSError):  # another run was first, and wrote the same
                partial.rename(self.folder / digest(key, dtype))
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def clear(self) -> None:
        """Remove all entries and unfinished ones; other files in the folder stay."""
        for folder in [*(entry.folder for entry in self.entries()), *self.folder.glob(".partial-*")]:
            shutil.rmtree(folder, ignore_errors=True)

    def _total(self) -> int:
        return sum(entry.nbytes for entry in self.entries())

    def _make_room(self, nbytes: int) -> None:
        for path in self.folder.glob(".partial-*"):
            process = int(path.name.split("-")[1])
            if process == os.getpid() or not alive(process):
                shutil.rmtree(path, ignore_errors=True)
        entries, total = self.entries(), self._total()
        while entries and (total + nbytes > self.bound or shutil.disk_usage(self.folder).free < nbytes + RESERVE):
            oldest = entries.pop()
            shutil.rmtree(oldest.folder, ignore_errors=True)
            total -= oldest.nbytes


def digest(key: dict[str, Any], dtype: str) -> str:
    """The name of an entry."""
    text = json.dumps({"format": FORMAT, "dtype": dtype} | key, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_arrays(folder: Path, shapes: list[list[int]], dtype: str, mode: str) -> list[ShardedArray]:
    """The arrays of an entry, made or opened; their files stay open, so that they outlive the entry.

    Args:
        folder: of the entry.
        shapes: of each array, rows first.
        dtype: of all of them.
        mode: "w+b" makes the files, "rb" opens them.
    """
    arrays = []
    for number, (rows, *rest) in enumerate(shapes):
        row_bytes = int(np.prod(rest)) * np.dtype(dtype).itemsize
        per_shard = max(1, min(rows, SHARD_BYTES // row_bytes))
        shards = []
        for place, start in enumerate(range(0, rows, per_shard)):
            length = min(per_shard, rows - start)
            file = (folder / f"{number}-{place:05}.bin").open(mode)
            if mode == "w+b":
                file.truncate(length * row_bytes)
            shards.append(FileArray(file, (length, *rest), dtype))
        arrays.append(ShardedArray(shards))
    return arrays


def alive(process: int) -> bool:
    """Whether a process of this number runs."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
