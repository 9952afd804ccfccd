"""A CSV file with the columns path and label, and optionally split."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from tlkeras.config import FormName
from tlkeras.data.example import SPLIT_WORDS, Example, Label, Source, Split, Task
from tlkeras.errors import UserError

JOINER = "|"  # stands between the labels of one picture


@dataclass(frozen=True)
class _Row:
    line: int
    path: str
    label: str
    split: str


def find(table: Path, task: str, form: FormName | Literal[""] = "pictures") -> Source:
    """Lists the pictures of a CSV file, sorted by path.

    Args:
        table: The file, in UTF-8, with commas, semicolons or tabs. Paths are relative to its folder; a label
            cell holds one class name, several joined by `|`, or a number.
        task: How to read the labels; `auto` decides by their looks and says so in the notes.
        form: What is wanted; empty where that is not known.

    Raises:
        UserError: The file cannot be read, lacks a column, or a cell cannot be used; the line is named.
    """
    rows = list(_rows(table))
    if not rows:
        raise UserError(f"{table} has no lines below its header. Write one line per picture: its path and its label.")
    notes: list[str] = []
    chosen = _choose_task(rows, notes) if task == "auto" else task
    examples: dict[str, tuple[Example, int]] = {}
    for row in rows:
        example = _example(table, row, chosen, with_split=any(row.split for row in rows))
        earlier, line = examples.setdefault(example.name, (example, row.line))
        if earlier != example:
            raise UserError(
                f"{table} lists {example.name} twice, with different labels or splits, on lines {line} and {row.line}. "
                f"Keep one of them; several labels of one picture go into one cell, joined by {JOINER}."
            )
    if len(examples) < len(rows):
        notes.append(f"Lines that repeat an earlier line were skipped: {len(rows) - len(examples)}.")
    found = sorted((example for example, _ in examples.values()), key=lambda example: example.name)
    if not any(example.path.exists() for example in found):
        raise UserError(
            f"None of the pictures in {table} exists, the first would be {found[0].path}. "
            "Write paths relative to the folder of the CSV file."
        )
    return Source(str(table), found, chosen, _classes(found, chosen), notes)


def _rows(table: Path) -> Iterator[_Row]:
    """Yields the lines of the file that are not empty, with stripped cells."""
    if not table.is_file():
        raise UserError(f"There is no file {table}. Give a CSV file with the columns path and label.")
    try:
        # utf-8-sig drops the byte order mark that spreadsheets write.
        with table.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count), restval="")
            reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or []]
            if not {"path", "label"} <= set(reader.fieldnames):
                found = ", ".join(reader.fieldnames) or "none"
                raise UserError(
                    f"{table} needs a header line with the columns path and label, and optionally split. "
                    f"The columns found are: {found}."
                )
            for cells in reader:
                path, label, split = (cells.get(column, "").strip() for column in ("path", "label", "split"))
                if path or label or split:
                    yield _Row(reader.line_num, path, label, split)
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read as CSV in UTF-8 ({error}). Save it again as CSV UTF-8.") from error


def _choose_task(rows: list[_Row], notes: list[str]) -> Task:
    labels = [row.label for row in rows]
    if any(JOINER in label for label in labels):
        notes.append(f"Labels are read as several per picture (multi_label), as cells contain {JOINER}.")
        return "multi_label"
    if all(_is_number(label) for label in labels):
        if any("." in label for label in labels):
            notes.append("Labels are read as quantities (regression), as all cells are numbers, some with a point.")
            return "regression"
        notes.append("Labels are read as classes (single_label), as all cells are whole numbers.")
        return "single_label"
    notes.append("Labels are read as one class per picture (single_label).")
    return "single_label"


def _example(table: Path, row: _Row, task: str, with_split: bool) -> Example:
    if not row.path:
        raise UserError(f"Line {row.line} of {table} has no path. Write where the picture is, or delete the line.")
    name = PurePosixPath(row.path.replace("\\", "/")).as_posix()
    split = _split(table, row) if with_split else None
    return Example(name, _label(table, row, task), split, table.parent / name)


def _split(table: Path, row: _Row) -> Split:
    split = SPLIT_WORDS.get(row.split.lower())
    if split is None:
        raise UserError(
            f"The split on line {row.line} of {table} is {row.split!r}. Write train, validation or test on every "
            "line, or leave the column out."
        )
    return split


def _label(table: Path, row: _Row, task: str) -> Label:
    if task == "multi_label":
        return tuple(sorted({label.strip() for label in row.label.split(JOINER)} - {""}))
    if task == "regression" and not _is_number(row.label):
        raise UserError(
            f"The label on line {row.line} of {table} is {row.label!r}. Regression needs a number there, such as 2.5."
        )
    if not row.label:
        raise UserError(f"Line {row.line} of {table} has no label. Write its class, or delete the line.")
    return float(row.label) if task == "regression" else row.label


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _classes(examples: list[Example], task: str) -> list[str]:
    if task == "regression":
        return []
    labels = (example.label for example in examples)
    return sorted({name for label in labels for name in (label if task == "multi_label" else (label,))})
