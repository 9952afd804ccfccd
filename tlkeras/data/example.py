"""What a source yields: one `Example` per image, or whatever else the modality is, in a `DatasetListing`."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from tlkeras.config.fields import Task
from tlkeras.modalities.base import Modality
from tlkeras.modalities.image import ImageModality

Split = Literal["train", "validation", "test"]
Label = str | tuple[str, ...] | float | None
Span = tuple[int, int]  # first byte and count of bytes

# The words people use for the three splits, in folder names and in CSV cells, in lower case.
SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Example:
    """One example and what is known about it; exactly one of `path` and `content` is set.

    Attributes:
        name: unique in its source; printed, and written to split.csv. The path relative to the source's root in POSIX
            form, or for example `beans/0.1.0/train#17` where it has no file of its own.
        label: a class name (single_label), a sorted tuple of class names, possibly empty (multi_label), or a number
            (regression).
        split: the split that the source itself assigns.
        path: the example's file, or one that holds many.
        content: the encoded example (JPEG, PNG, ...), or what reads it, where there is no file; or RGB pixels 0–255.
        span: position in the file, where the file holds many.
    """

    name: str
    label: Label
    split: Split | None = None
    path: Path | None = None
    content: bytes | np.ndarray | Callable[[], bytes] | None = field(default=None, repr=False)
    span: Span | None = None


def class_names(label: Label) -> tuple[str, ...]:
    """Return the class names in a label: one for single_label, none or more for multi_label."""
    if isinstance(label, tuple):
        return label
    return () if label is None else (str(label),)


@dataclass(frozen=True)
class DatasetListing:
    """All examples of one dataset, in an order that does not depend on the file system.

    Attributes:
        name: what the user gave, for messages.
        examples: all of them, none opened yet.
        task: what the labels mean.
        classes: class names; their order gives the model's output index. Empty for regression.
        notes: what was skipped or decided, one sentence each.
        modality: what the examples are.
    """

    name: str
    examples: list[Example]
    task: Task
    classes: list[str]
    notes: list[str]
    modality: type[Modality] = ImageModality
