"""From options to decoded, split pictures, without TensorFlow: what can be wrong with the data comes first."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkeras.backbones import Backbone, check_image_size
from tlkeras.config import DataOptions, Task, check_values
from tlkeras.data.example import Example, Source
from tlkeras.data.file_array import FileArray
from tlkeras.data.images import decode_all, typical_short_side
from tlkeras.data.sources import find_examples
from tlkeras.data.splits import split_examples
from tlkeras.hub.row import find_row, read_module

log = logging.getLogger("tlkeras")

# Small pictures are enlarged at most this much by default: 8-pixel digits are looked at with 64 pixels, not 224.
GREATEST_ENLARGEMENT = 8


@dataclass(frozen=True)
class PreparedData:
    """Decoded pictures of a data set and who belongs to which split.

    Attributes:
        task: what a label is.
        classes: class names in the order of the model's outputs; empty for regression.
        image_size: pixels a side of `inputs`.
        inputs: uint8 `(N, S, S, 3)`, RGB 0–255, in memory or in a file.
        examples: the N examples in the same order.
        splits: for "train", "validation" and, where there is one, "test", indices into `examples`.
        unreadable: examples that were set aside, with the reason.
    """

    task: Task
    classes: list[str]
    image_size: int
    inputs: np.ndarray | FileArray
    examples: list[Example]
    splits: dict[str, np.ndarray]
    unreadable: list[tuple[Example, str]]


@dataclass(frozen=True)
class FoundData:
    """Pictures that were found, none of them decoded yet.

    Attributes:
        source: the examples and what they are.
        row: of the backbone.
        image_size: pixels a side that they will be brought to.
    """

    source: Source
    row: Backbone
    image_size: int


def prepare_data(
    options: DataOptions, backbone: str | Backbone, image_size: int | None = None, seed: int = 0
) -> PreparedData:
    """Find, split and decode the pictures.

    Args:
        options: which pictures, and the shares of the splits.
        backbone: a name from the table, `hub:HANDLE`, or a row: its size is what the pictures are brought to.
        image_size: another size, pixels a side.
        seed: of the split.

    Returns:
        The pictures, uint8 `(N, S, S, 3)`, RGB 0–255, with classes and splits.

    Raises:
        UserError: for whatever is wrong with the data or the options, before anything slow where possible.
    """
    check_values(options)
    return decode_data(find_data(options, find_row(backbone), image_size, seed), options, seed)


def find_data(options: DataOptions, row: Backbone, image_size: int | None, seed: int) -> FoundData:
    """The first, quick half of `prepare_data`: all that can be told without decoding.

    A hub module is asked for its size, so TensorFlow loads then.

    Args:
        options: which pictures, and the shares of the splits.
        row: the backbone.
        image_size: pixels a side; None is the backbone's own, or less where the pictures are tiny.
        seed: of the split.

    Raises:
        UserError: for whatever is wrong with the data.
    """
    source = find_examples(options.data, options.task, data_dir=options.data_dir)
    split_examples(source.examples, source.task, (options.validation_share, options.test_share), seed)
    for note in source.notes:
        log.info("Note: %s", note)
    row = read_module(row)
    check_image_size(row, image_size)
    return FoundData(source, row, image_size or default_image_size(row, source.examples))


def decode_data(found: FoundData, options: DataOptions, seed: int) -> PreparedData:
    """The second half of `prepare_data`."""
    source = found.source
    decoded = decode_all(source.examples, found.image_size, options.max_unreadable, options.memory)
    for note in decoded.notes:
        log.info("Note: %s", note)
    for example, reason in decoded.unreadable:
        log.warning("Set aside, unreadable: %s (%s)", example.name, reason)
    shares = (options.validation_share, options.test_share)
    splits = split_examples(decoded.examples, source.task, shares, seed)
    counts = ", ".join(f"{name} {len(rows):,}" for name, rows in splits.items())
    kind = "regression" if source.task == "regression" else f"{len(source.classes)} classes"
    log.info("Data: %s, %s images, %s (%s).", source.name, f"{len(decoded.examples):,}", kind, counts)
    return PreparedData(
        task=source.task,
        classes=source.classes,
        image_size=found.image_size,
        inputs=decoded.inputs,
        examples=decoded.examples,
        splits=dict(splits),
        unreadable=decoded.unreadable,
    )


def default_image_size(row: Backbone, examples: Sequence[Example]) -> int:
    """The backbone's own size, or less where the pictures are tiny."""
    side = typical_short_side(examples)
    if side is None:
        return row.default_size
    return min(row.default_size, max(row.least_size, GREATEST_ENLARGEMENT * side))


def write_unreadable(path: Path, unreadable: Sequence[tuple[Example, str]]) -> None:
    """List what was set aside, as CSV of path and reason."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "reason"])
        writer.writerows((example.name, reason) for example, reason in unreadable)
