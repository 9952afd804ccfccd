"""What a source yields: one `Example` per image, or whatever else the modality is, in a `DatasetListing`."""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from tlkeras.config.fields import Task
from tlkeras.modalities.base import Modality, read_bytes
from tlkeras.modalities.image import ImageModality

Split = Literal["train", "validation", "test"]
Label = str | tuple[str, ...] | float | None
JOINER = "|"  # between the class names of one example, where they are one text

# The words people use for the three splits, in folder names and in CSV cells, in lower case.
SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
}
FILLERS = re.compile(r"(data|images?|imgs?|photos|pictures|sets?|segmentation|seg|splits?|[^a-z])+")


def split_of(name: str) -> Split | None:
    """Return the split that a folder or a CSV cell names, as `test_set` or "Training Data" do too; else None."""
    plain = name.strip().lower()
    return SPLIT_WORDS.get(plain) or SPLIT_WORDS.get(FILLERS.sub("", plain))


@dataclass(frozen=True, slots=True)  # there may be a million of them
class Example:
    """One example and what is known about it; exactly one of `path` and `content` is set."""

    name: str  # unique in its source: the path relative to its root in POSIX form, or such as `beans/0.1.0/train#17`
    label: Label  # a class name; a sorted tuple of class names, possibly empty (multi_label); a number (regression)
    split: Split | None = None  # the one that the source itself assigns
    path: Path | None = None  # the example's file, or one that holds many
    # Encoded, or what reads it; or RGB pixels 0–255 `(H, W, 3)`.
    content: bytes | np.ndarray | Callable[[], bytes] | None = field(default=None, repr=False)
    span: tuple[int, int] | None = None  # first byte and count of bytes, where the file holds many
    group: str | None = None  # such as a patient: examples of one group stay in one split


def content_of(example: Example) -> Path | bytes | np.ndarray:
    """Return what `Modality.read` takes: the file, or its content where the example has no file of its own."""
    if example.path is None:
        content = example.content() if callable(example.content) else example.content
        return b"" if content is None else content
    if example.span is None:
        return example.path
    return read_bytes(example.path, *example.span)


def plain_text(text: str) -> str:
    """Return text in one Unicode form, as the same name differs in bytes between macOS and other systems."""
    return unicodedata.normalize("NFC", text)


def class_names(label: Label) -> tuple[str, ...]:
    """Return the class names in a label: one for single_label, none or more for multi_label."""
    if isinstance(label, tuple):
        return label
    return () if label is None else (str(label),)


@dataclass(frozen=True)
class DatasetListing:
    """All examples of one dataset, none opened yet, in an order that does not depend on the file system."""

    name: str  # what the user gave, for messages
    examples: list[Example]
    task: Task
    classes: list[str]  # in the order of the model's outputs; empty for regression
    notes: list[str]  # what was skipped or decided, one sentence each
    modality: type[Modality] = ImageModality
