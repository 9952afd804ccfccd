"""Where the pictures of a TensorFlow data set lie on the disk, so that they can be read from there, one by one."""

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkeras.data.example import Span


@dataclass(frozen=True)
class Record:
    """One example as it lies in a TFRecord file.

    Attributes:
        file: the file.
        first: byte at which the content begins.
        content: its bytes.
    """

    file: Path
    first: int
    content: bytes


def records_of(info: Any, instruction: Any) -> Iterator[Record]:
    """Yields the records that an instruction of TFDS reads, in order; none if the files are of another format."""
    if info.file_format is None or info.file_format.value != "tfrecord":
        return
    for part in info.splits[instruction].file_instructions:
        yield from itertools.islice(_records_in(Path(part.filename)), part.skip, part.skip + part.take)


def find_in(record: Record, content: bytes) -> Span | None:
    """Returns where in its file a part of a record lies; TFDS compresses none."""
    position = record.content.find(content)
    return None if position < 0 else (record.first + position, len(content))


def _records_in(file: Path) -> Iterator[Record]:
    with file.open("rb") as opened:
        while head := opened.read(12):  # eight bytes of length, four of its checksum
            (length,) = struct.unpack("<Q4x", head)
            first = opened.tell()
            yield Record(file, first, opened.read(length))
            opened.seek(4, 1)  # the checksum of the record, which TensorFlow compares
