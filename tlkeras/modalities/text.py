"""Texts: decode a file or its bytes to a string. The only place that opens text files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tlkeras.errors import UserError
from tlkeras.modalities.base import DecodeError, Modality, read_bytes

MAX_BYTES = 1_000_000  # of a text; longer ones are books, or not text at all


@dataclass(frozen=True)
class TextModality(Modality):
    """Texts of any length, as Python strings."""

    name: ClassVar = "text"
    singular: ClassVar = "text"
    plural: ClassVar = "texts"
    dtype: ClassVar = "object"
    suffixes: ClassVar = frozenset((".txt",))
    folder_example: ClassVar = "reviews/good/1.txt and reviews/bad/2.txt"
    glob_example: ClassVar = "'reviews/*.txt'"
    throughput_unit: ClassVar = "texts/s"
    inline: ClassVar = True

    def __str__(self) -> str:
        return "texts"

    @property
    def shape(self) -> tuple[int, ...]:
        return ()

    def read(self, source: Path | bytes) -> str:
        return read_text(source)

    @classmethod
    def check_files(cls, files: Iterable[Path], given: str) -> None:
        if any(file.suffix.lower() == ".csv" for file in files):
            raise UserError(
                f"{given} is a table, which would be read as one text. Give files of one text each, or --text TEXT; "
                "evaluate.py RUN --data TABLE evaluates a table with labels."
            )


def read_text(source: Path | bytes) -> str:
    """Decode a text in UTF-8, without a byte order mark and without white space around it."""
    content = source if isinstance(source, bytes) else read_bytes(source, count=MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DecodeError(f"longer than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DecodeError("not UTF-8") from error
    if not text:
        raise DecodeError("empty")
    return text
