"""Check examples before anything is trained on them: the same example twice, by its content and not by its name."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tlkeras.data.example import Example
from tlkeras.io.arrays import FileArray
from tlkeras.modalities.base import Modality

LEAK = "in more than one split, which makes the metrics too optimistic: keep one copy"
DOUBT = "under several labels: keep the right one"
COPY = "more than once, in one split: one copy is enough"


def content_digests(inputs: np.ndarray | FileArray) -> list[str]:
    """Return for each decoded example 16 digits that tell whether another one is the same, whatever its file."""
    return [hashlib.blake2b(_content(inputs[row]), digest_size=8).hexdigest() for row in range(len(inputs))]


def copy_notes(
    examples: Sequence[Example], digests: Sequence[str], splits: Mapping[str, Iterable[int]], modality: type[Modality]
) -> list[str]:
    """Return a sentence on copies in several splits, one on copies with several labels, and one on all others."""
    split_of = {index: name for name, rows in splits.items() for index in rows}
    groups: dict[str, list[int]] = {}
    for index, digest in enumerate(digests):
        groups.setdefault(digest, []).append(index)
    kinds: dict[str, list[list[int]]] = {what: [] for what in (LEAK, DOUBT, COPY)}
    for group in (group for group in groups.values() if len(group) > 1):
        leaks = len({split_of.get(index) for index in group}) > 1
        doubtful = len({examples[index].label for index in group}) > 1
        for what, found in ((LEAK, leaks), (DOUBT, doubtful), (COPY, not leaks and not doubtful)):
            if found:
                kinds[what].append(group)
    notes = []
    for what, found in kinds.items():
        if found:
            names = " = ".join(examples[index].name for index in found[0][:2])
            verb = "appears" if len(found) == 1 else "appear"
            notes.append(f"{modality.count_noun(len(found))} {verb} {what} ({names}{', ...' if found[1:] else ''}).")
    return notes


def _content(row: np.ndarray | str | bytes) -> bytes:
    if isinstance(row, np.ndarray):
        return row.tobytes()
    return row.encode() if isinstance(row, str) else row
