"""Decode all examples once, on all cores, and keep them where there is room; skip what cannot be decoded."""

import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.data.example import Example, content_of
from tlkeras.data.streaming import Rows, StreamedRows
from tlkeras.errors import UserError
from tlkeras.io.arrays import FileArray
from tlkeras.modalities.base import DecodeError, Modality
from tlkeras.progress import progress

log = logging.getLogger("tlkeras")
MEMORY_FRACTION = 0.25  # of the machine's memory; larger arrays go to a temporary file
SAMPLE_SIZE = 50  # files that tell what all are like


@dataclass(frozen=True)
class DecodedExamples:
    """The examples that could be decoded, in the order given, and those that could not."""

    inputs: Rows  # of each of `examples`, such as images, uint8 `(N, size, size, 3)`, RGB 0–255
    examples: list[Example]
    unreadable: list[tuple[Example, str]]  # the other ones, each with the reason


def decode_all(
    examples: Sequence[Example], modality: Modality, max_unreadable: float, memory_gb: float | None = None,
    disk_gb: float | None = None,
) -> DecodedExamples:  # fmt: skip
    """Decode every example, with a thread per core (Pillow decodes without the GIL).

    Refuse, as soon as it is certain, more unreadable ones than a fraction, or unreadable ones alone.
    """
    inputs = _allocate(examples, modality, memory_budget(memory_gb), disk_gb)
    reasons: dict[int, str] = {}

    def read(index: int) -> tuple[int, str | None]:
        try:
            inputs[index] = modality.read(content_of(examples[index]))
        except DecodeError as error:
            return index, str(error)
        return index, None

    with (
        progress(len(examples), f"Reading {modality.plural}", modality.plural) as bar,
        ThreadPool(available_cores()) as pool,  # leaving it ends the threads, after an error too
    ):
        for index, reason in pool.imap_unordered(read, range(len(examples)), chunksize=8):
            bar.update()
            if reason is not None:
                reasons[index] = reason
                if len(reasons) > max_unreadable * len(examples) or len(reasons) == len(examples):
                    raise _too_many(examples, modality.plural, reasons, max_unreadable)
    readable = [index for index in range(len(examples)) if index not in reasons]
    if reasons:
        inputs = _only(inputs, readable)
    unreadable = [(examples[index], reasons[index]) for index in sorted(reasons)]
    for example, reason in unreadable:
        log.warning("Skipped, unreadable: %s (%s)", example.name, reason)
    return DecodedExamples(inputs, [examples[index] for index in readable], unreadable)


def _only(inputs: Rows, chosen: list[int]) -> Rows:
    """Return the rows at ascending indices; the gaps are closed in place, as a second array might not fit."""
    if isinstance(inputs, StreamedRows):
        return inputs.only(chosen)
    for target, index in enumerate(chosen):
        if target != index:
            inputs[target] = inputs[index]
    return inputs.shortened(len(chosen)) if isinstance(inputs, FileArray) else inputs[: len(chosen)]


def sample(examples: Sequence[Example], measure: Callable[[Path | bytes | np.ndarray], Any]) -> list[Any]:
    """Return a function of about 50 examples from all over, without those that cannot be read."""
    found = []
    for index in np.unique(np.linspace(0, len(examples) - 1, SAMPLE_SIZE).astype(int)):
        with contextlib.suppress(DecodeError):
            found.append(measure(content_of(examples[index])))
    return found


def _allocate(examples: Sequence[Example], modality: Modality, budget: int, disk_gb: float | None) -> Rows:
    """Return rows to set: in memory up to a budget in bytes, else in a temporary file, else decoded when needed."""
    shape, dtype = (len(examples), *modality.shape), np.dtype(modality.dtype)
    needed = int(np.prod(shape)) * dtype.itemsize
    if needed <= budget or dtype.hasobject:  # of objects nobody knows the size
        return np.empty(shape, dtype)
    folder = tempfile.gettempdir()
    disk = shutil.disk_usage(folder).free
    disk = disk if disk_gb is None else min(disk, int(disk_gb * 1e9))
    size = f"take {needed / 1e9:.1f} GB, more than the {budget / 1e9:.1f} GB of memory"
    if needed > disk:
        log.info(
            f"Note: The decoded {modality.plural} {size} (--memory-gb) and the {disk / 1e9:.1f} GB in {folder} "
            "(--disk-gb, TMPDIR) for them, so they are decoded whenever they are needed."
        )
        return StreamedRows(examples, modality)
    log.info(
        f"Note: The decoded {modality.plural} {size} for them (--memory-gb), so they are in a temporary file in "
        f"{folder} (set TMPDIR for another folder)."
    )
    return FileArray.temporary(shape, dtype)


def memory_budget(gigabytes: float | None = None) -> int:
    """Return bytes: what is asked for, or a fraction of the machine's memory, or of the container's if it has less."""
    if gigabytes is not None:
        return int(gigabytes * 1e9)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = 8 * 2**30
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, int(text))
    return int(memory * MEMORY_FRACTION)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _too_many(examples: Sequence[Example], plural: str, reasons: dict[int, str], max_unreadable: float) -> UserError:
    named = "; ".join(f"{examples[index].name}: {reasons[index]}" for index in sorted(reasons)[:5])
    if len(reasons) == len(examples):
        return UserError(f"None of the {len(examples)} {plural} can be read ({named}). Give other {plural}.")
    return UserError(
        f"More than {max_unreadable:.0%} of the {len(examples)} {plural} cannot be read, among them {named}. "
        f"Repair or remove these files, or allow a larger fraction with --max-unreadable."
    )
