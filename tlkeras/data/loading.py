"""Decode all examples once, on all cores, into one array; set aside the files that cannot be read."""

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np

from tlkeras.config import ModalityName
from tlkeras.data.example import Example, DecodeError
from tlkeras.io.arrays import FileArray
from tlkeras.modalities.base import Form
from tlkeras.notebook import Counter
from tlkeras.errors import UserError

MEMORY_SHARE = 0.25  # of the machine's memory; larger arrays go to a temporary file
SIZE_SAMPLE = 50  # files whose headers tell the typical size


@dataclass(frozen=True)
class DecodedExamples:
    """The examples that could be read, and those that could not.

    Attributes:
        inputs: Pictures as a uint8 array `(N, size, size, 3)` with RGB values 0-255, texts as an array `(N,)` of str,
            sounds as a float32 array `(N, samples)` from -1 to 1; in memory or in a temporary file that disappears
            with the array.
        examples: The N examples, in the order given; `inputs[i]` is `examples[i]`.
        unreadable: The other examples, each with the reason.
        notes: What the user should know, one sentence each.
    """

    inputs: np.ndarray | FileArray
    examples: list[Example]
    unreadable: list[tuple[Example, str]]
    notes: list[str]


def decode_all(
    examples: Sequence[Example], form: Form, max_unreadable: float, memory: float | None = None
) -> DecodedExamples:
    """Decodes every example, with a thread per core (Pillow decodes without the GIL).

    Args:
        examples: The examples of a source.
        form: What they are.
        max_unreadable: The largest part of them that may be unreadable, from 0 to 1.
        memory: Gigabytes that they may take in memory; see `memory_budget`.

    Raises:
        UserError: More of them are unreadable, or all are (this comes as soon as it is certain), or the disk
            has no room for them.
    """
    notes: list[str] = []
    inputs = _allocate(len(examples), form, memory_budget(memory), notes)
    reasons: dict[int, str] = {}
    counter = Counter(f"Reading {form.name}", len(examples))

    def read(number: int) -> tuple[int, str | None]:
        try:
            inputs[number] = form.read(content_of(examples[number]))
        except DecodeError as error:
            return number, str(error)
        return number, None

    with ThreadPool(available_cores()) as pool:  # leaving it ends the threads, after an error too
        for number, reason in pool.imap_unordered(read, range(len(examples)), chunksize=8):
            counter.step()
            if reason is not None:
                reasons[number] = reason
                if len(reasons) > max_unreadable * len(examples) or len(reasons) == len(examples):
                    counter.close()
                    raise _too_many(examples, form.name, reasons, max_unreadable)
    counter.close()
    readable = [number for number in range(len(examples)) if number not in reasons]
    for target, number in enumerate(readable):
        if target != number:  # closes the gaps in place, as a second array might not fit
            inputs[target] = inputs[number]
    in_file = isinstance(inputs, FileArray)
    inputs = inputs.shortened(len(readable)) if in_file else inputs[: len(readable)]
    unreadable = [(examples[number], reasons[number]) for number in sorted(reasons)]
    return DecodedExamples(inputs, [examples[number] for number in readable], unreadable, notes)


def sample_median(examples: Sequence[Example], measure: Callable[[Path | bytes], float]) -> float | None:
    """Returns the median of a measure over about 50 examples; None if not one of them could be read.

    Args:
        examples: The examples of a source.
        measure: Such as `tlkeras.modalities.image.short_side`, which reads the header only.
    """
    found = []
    for number in np.unique(np.linspace(0, len(examples) - 1, SIZE_SAMPLE).astype(int)):
        try:
            found.append(measure(content_of(examples[number])))
        except DecodeError:
            continue
    return float(np.median(found)) if found else None


def content_of(example: Example) -> Path | bytes:
    """Returns what a form's `read` takes: the file, or its content where the example has no file of its own.

    Raises:
        Unreadable: The file that holds the example among others cannot be read.
    """
    if example.path is None:
        return example.content
    if example.span is None:
        return example.path
    first, count = example.span
    try:
        with example.path.open("rb") as file:
            file.seek(first)
            return file.read(count)
    except OSError as error:
        raise DecodeError((error.strerror or str(error)).lower()) from error


def content_bytes(inputs: np.ndarray) -> np.ndarray | bytes:
    """Returns what tells some rows of inputs, such as `(m, S, S, 3)`, from others, for a digest."""
    return repr(inputs.tolist()).encode() if inputs.dtype == object else inputs


def _allocate(count: int, form: Form, budget: int, notes: list[str]) -> np.ndarray | FileArray:
    """Returns an empty array, in a temporary file if it is larger than the budget; says so in `notes`.

    Texts, of which nobody knows how long they are, always lie in memory.
    """
    shape = (count, *form.shape)
    needed = int(np.prod(shape)) * np.dtype(form.dtype).itemsize
    if needed <= budget or form.name == "texts":
        return np.empty(shape, form.dtype)
    folder, gigabytes = tempfile.gettempdir(), needed / 1e9
    if shutil.disk_usage(folder).free < needed:
        raise UserError(
            f"{count} {form} take {gigabytes:.1f} GB, too much for the memory and for the disk at {folder}. "
            f"{form.smaller}, or set TMPDIR to a folder with room."
        )
    notes.append(
        f"The decoded {form.name} take {gigabytes:.1f} GB, more than the {budget / 1e9:.1f} GB of memory that they may "
        f"take (--memory-gb), so they lie in a temporary file in {folder} (set TMPDIR for another place)."
    )
    # The file has no name any more, so nothing is left behind even if the program is killed.
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the array closes it)
    file.truncate(needed)
    return FileArray(file, shape, form.dtype)


def memory_budget(gigabytes: float | None = None) -> int:
    """Returns bytes: what is asked for, or a part of the machine's memory, or of the container's if that is smaller."""
    if gigabytes is not None:
        return int(gigabytes * 1e9)
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows
        memory = 8 * 2**30
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.is_file() and (text := limit.read_text().strip()).isdigit():
        memory = min(memory, int(text))
    return int(memory * MEMORY_SHARE)


def available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _too_many(examples: Sequence[Example], form: ModalityName, reasons: dict[int, str], max_unreadable: float) -> UserError:
    named = "; ".join(f"{examples[number].name}: {reasons[number]}" for number in sorted(reasons)[:5])
    if len(reasons) == len(examples):
        return UserError(f"Not one of the {len(examples)} {form} can be read ({named}). Give other {form}.")
    return UserError(
        f"More than {max_unreadable:.0%} of the {len(examples)} {form} cannot be read, among them {named}. "
        f"Repair or remove these files, or allow a larger part with --max-unreadable."
    )
