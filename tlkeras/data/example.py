"""What a source yields: one `Example` per picture, held together by a `Source`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlkeras.config import ModalityName, Task

__all__ = ["SPLIT_WORDS", "Example", "Label", "Source", "Span", "Split", "Task", "Unreadable"]

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


class DecodeError(Exception):
    """A file that cannot be decoded; the message is the reason in a few words."""


@dataclass(frozen=True)
class Example:
    """One picture and what is known about it; exactly one of `path` and `content` is set.

    Attributes:
        name: Unique in its source; printed, and written to split.csv. The path relative to the source's
            root in POSIX form, or for example `beans/0.1.0/train#17`
            where it has no file of its own.
        label: A class name (single_label), a sorted tuple of class names, possibly empty (multi_label),
            or a number (regression).
        split: Where the source itself says which split the picture belongs to.
        path: The picture's file, or one that holds many.
        content: The encoded picture (JPEG, PNG, ...), where there is no file.
        span: Where in the file the encoded picture lies, where the file holds many.
    """

    name: str
    label: Label
    split: Split | None = None
    path: Path | None = None
    content: bytes | None = field(default=None, repr=False)
    span: Span | None = None


@dataclass(frozen=True)
class DatasetListing:
    """All examples of one data set, in an order that does not depend on the file system.

    Attributes:
        name: What the user gave, for headlines.
        examples: Every picture, not yet opened.
        task: What the labels mean.
        classes: Class names; their order gives the model's output index. Empty for regression.
        notes: What was skipped or decided, one sentence each.
        form: What the examples are.
    """

    name: str
    examples: list[Example]
    task: Task
    classes: list[str]
    notes: list[str]
    form: ModalityName = "pictures"
