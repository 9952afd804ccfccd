"""Features on disk: an entry is a folder of arrays with checksums, which appears when it is complete."""

import contextlib
import inspect
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.config.train import AugmentOptions, TrainingOptions
from tlkeras.data.augment import augment
from tlkeras.data.streaming import StreamedRows
from tlkeras.io import cache_dir
from tlkeras.io.arrays import FileArray
from tlkeras.io.atomic import write_atomic
from tlkeras.io.hashing import array_digest, file_hash, json_hash, stream_hash

if TYPE_CHECKING:
    import keras

    from tlkeras.features.engines import Engine
    from tlkeras.features.extract import ExtractionJob

log = logging.getLogger("tlkeras")

FORMAT = 3  # of the files and of what is in them: another one never reads these
INFO = "info.json"
CHUNK_ROWS = 32  # examples that are hashed at a time
CHUNK_BYTES = 2**20  # that are hashed at a time, by each core
RESERVE = 2**30  # bytes of the disk that are left free
DONE = "done"  # in an unfinished entry: how many steps of the pass are in its arrays, on the disk
SHARD = 30.0  # seconds of a pass after which what is computed is kept, for when the program is killed


@dataclass(frozen=True)
class Entry:
    """What is known of an entry from its `info.json` and from its folder."""

    folder: Path
    key: dict[str, Any]  # what the features depend on
    data: str  # as it was given to the run that computed them; empty where that was no text
    nbytes: int
    used: float  # when it was last used, in seconds since 1970


@dataclass(frozen=True)
class FeatureCache:
    """A folder of features that is bounded in size; the least recently used ones go first."""

    folder: Path  # need not exist
    bound: int  # bytes that its entries may take together

    def entries(self) -> list[Entry]:
        """Return all entries, the most recently used ones first."""
        found = []
        for path in self.folder.glob(f"*/{INFO}"):
            with contextlib.suppress(OSError, ValueError, KeyError):
                info = json.loads(path.read_text(encoding="utf-8"))
                nbytes = sum(file.stat().st_size for file in path.parent.iterdir())
                found.append(Entry(path.parent, info["key"], info.get("data", ""), nbytes, path.stat().st_mtime))
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
    def writing(
        self, key: dict[str, Any], shapes: list[list[int]], dtype: str, data: str = ""
    ) -> Iterator["Unfinished"]:
        """Make arrays to fill; they are an entry when the block ends well.

        What a program had filled that was stopped, killed or ended by a mistake is there again for the next one; where
        the disk failed nothing is left.
        """
        folder = self._folder_of(key, dtype)
        partial = self.folder / f".partial-{os.getpid()}-{folder.name}"
        for path in self._abandoned():
            if path.name.endswith(f"-{folder.name}") and not partial.exists():
                path.rename(partial)
        self._make_room(sum(int(np.prod(shape)) for shape in shapes) * np.dtype(dtype).itemsize, partial)
        try:
            unfinished = Unfinished.open(partial, shapes, dtype)
            yield unfinished
            arrays = unfinished.arrays
            (partial / DONE).unlink(missing_ok=True)
            info = {"key": key, "data": data, "shapes": shapes, "dtype": dtype, "made": time.time()}
            info["checksums"] = [checksum(array) for array in arrays]
            (partial / INFO).write_text(json.dumps(info, indent=2), encoding="utf-8")
            with contextlib.suppress(OSError):  # another run was first, and wrote the same
                partial.rename(folder)
        except BaseException as error:
            if isinstance(error, OSError) or not (partial / DONE).exists():
                shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(partial, ignore_errors=True)

    def clear(self) -> None:
        """Remove all entries and unfinished ones; other files in the folder stay."""
        for folder in [*(entry.folder for entry in self.entries()), *self.folder.glob(".partial-*")]:
            shutil.rmtree(folder, ignore_errors=True)

    def _folder_of(self, key: dict[str, Any], dtype: str) -> Path:
        return self.folder / json_hash({"format": FORMAT, "dtype": dtype} | key)[:32]

    def _abandoned(self) -> list[Path]:
        """Return what stopped and killed processes left; one of these may have had our number."""
        found = [(path, int(path.name.split("-")[1])) for path in self.folder.glob(".partial-*")]
        return [path for path, process in found if process == os.getpid() or not is_alive(process)]

    def _make_room(self, nbytes: int, kept: Path) -> None:
        """Remove what other processes left, then the least recently used entries, until there is room."""
        for path in self._abandoned():
            if path != kept:
                shutil.rmtree(path, ignore_errors=True)
        nbytes -= sum(file.stat().st_size for file in kept.glob("*"))
        entries = self.entries()
        total = sum(entry.nbytes for entry in entries)
        while entries and (total + nbytes > self.bound or shutil.disk_usage(self.folder).free < nbytes + RESERVE):
            oldest = entries.pop()
            shutil.rmtree(oldest.folder, ignore_errors=True)
            total -= oldest.nbytes


@dataclass
class Unfinished:
    """An entry that is being filled."""

    arrays: list[FileArray]
    file: Path  # says how many steps are there
    steps: int  # of the pass that were there when it was opened
    kept: float  # when it was last written

    @classmethod
    def open(cls, folder: Path, shapes: list[list[int]], dtype: str) -> "Unfinished":
        """Open what is in a folder, or make it."""
        file = folder / DONE
        if file.exists():
            arrays = [FileArray(path.open("r+b"), shape, dtype) for path, shape in array_files(folder, shapes)]
            return cls(arrays, file, int(file.read_text()), time.monotonic())
        folder.mkdir(parents=True, exist_ok=True)
        arrays = [FileArray.create(path.open("w+b"), shape, dtype) for path, shape in array_files(folder, shapes)]
        return cls(arrays, file, 0, time.monotonic())

    def keep(self, steps: int) -> None:
        """Note now and then how many steps of the pass are there, once they are on the disk."""
        if time.monotonic() - self.kept >= SHARD:
            for array in self.arrays:
                array.sync()
            write_atomic(self.file, str(steps))
            self.kept = time.monotonic()


@dataclass
class KeptFeatures:
    """The features of one model in the cache."""

    cache: FeatureCache
    common: dict[str, Any]  # what the features of all splits depend on
    model: "keras.Model"
    dtype: str
    hits: int = 0  # splits that were read
    written: int = 0  # splits that were computed and kept

    def read_or_fill(
        self, job: "ExtractionJob", engine: Callable[[], "Engine"], fits_memory: bool
    ) -> Sequence[np.ndarray | FileArray] | None:
        """Return the features of a split, read or computed; None where memory will do, as the disk does not."""
        key = self.common | job_key(job)
        arrays = self.cache.read(key, self.dtype)
        if arrays is not None:
            self.hits += 1
        else:
            data = getattr(job.options, "data", "")  # options of a whole run have it
            try:
                with self.cache.writing(
                    key, job.shapes(self.model), self.dtype, data if isinstance(data, str) else ""
                ) as unfinished:
                    if unfinished.steps:
                        log.info("Features: resumed after %d batches that a stopped run left.", unfinished.steps)
                    job.fill(engine(), unfinished.arrays, first=unfinished.steps, keep=unfinished.keep)
                    arrays = unfinished.arrays
            except OSError as error:
                if not fits_memory:
                    raise
                log.info("Note: features are not kept for the next run; %s: %s.", self.cache.folder, error.strerror)
                return None
            self.written += 1
        return [np.asarray(array[:]) for array in arrays] if fits_memory else arrays


def open_cache(model: "keras.Model", name: str, options: TrainingOptions, nbytes: int) -> KeptFeatures | None:
    """Return the part of the cache that is of one model; None where `nbytes` are more than may be written."""
    cache = FeatureCache(cache_dir(), int(options.cache_gb * 1e9))
    if not cache.has_room(nbytes):
        return None
    packages = sorted({"tensorflow", "keras", "pillow", options.engine.partition("_")[0]})
    common = {"features": name, "model": digest_model(model), "engine": options.engine}
    return KeptFeatures(
        cache, common | {package: version(package) for package in packages}, model, options.feature_dtype
    )


def digest_model(model: "keras.Model") -> str:
    """Return the hash of what a functional model computes: its layers and operations, their wiring, its weights."""
    graph = json.dumps(model.get_config(), sort_keys=True, default=str)
    graph = re.sub(r'_\d+((CLONE)*)"', r'\1"', graph)  # automatic names count what this process has built
    return array_digest(model.get_weights(), graph)


def job_key(job: "ExtractionJob") -> dict[str, Any]:
    """Return what the features of a split depend on, the model aside."""
    rows, inputs = job.data.rows, job.data.inputs
    chunks: Iterable = (inputs[rows[start : start + CHUNK_ROWS]] for start in range(0, len(rows), CHUNK_ROWS))
    if isinstance(inputs, StreamedRows):
        chunks = inputs.only(rows.tolist()).digests  # of the content too, and need no decoding
    digest = stream_hash([str(inputs.shape[1:])], chunks)
    key: dict[str, Any] = {"examples": len(rows), "inputs": digest, "views": job.views,
                           "cores": job.cores}  # fmt: skip
    if job.augmented:
        names = ["seed", *(entry.name for entry in fields(AugmentOptions))]
        key |= {name: getattr(job.options, name) for name in names}
        # so that whoever changes it does not get stale features
        key["code"] = file_hash(Path(inspect.getfile(augment)))
    return key


def array_files(folder: Path, shapes: list[list[int]]) -> list[tuple[Path, list[int]]]:
    """Return the file of each array of an entry, and its shape."""
    return [(folder / f"{number}.bin", shape) for number, shape in enumerate(shapes)]


def checksum(array: FileArray) -> str:
    """Return the hash of an array's content, made of those of its chunks, which all cores compute."""
    rows = max(1, CHUNK_BYTES * len(array) // max(1, array.nbytes))
    with ThreadPoolExecutor() as pool:
        starts = range(0, len(array), rows)
        return stream_hash(pool.map(lambda start: stream_hash([array[start : start + rows]]), starts))


def is_alive(process: int) -> bool:
    """Return whether a process of this number runs."""
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
