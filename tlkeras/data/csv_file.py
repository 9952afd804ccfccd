"""A CSV file with the columns path or text, label, and optionally split."""

import csv
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from tlkeras.config import ModalityName
from tlkeras.data.example import SPLIT_WORDS, Example, Label, DatasetListing, Split, Task
from tlkeras.modalities.base import SUFFIXES, count_forms, one, majority
from tlkeras.modalities.text import MAX_BYTES
from tlkeras.errors import UserError

JOINER = "|"  # stands between the labels of one example
NAME_LENGTH = 40  # characters of a text that name it
GREATEST_CELL = 10 * MAX_BYTES  # of which nothing longer than MAX_BYTES is used, but set aside like a file


@dataclass(frozen=True)
class _Row:
    line: int
    cell: str
    label: str
    split: str


def find(table: Path, task: str, form: ModalityName | Literal[""] = "pictures") -> DatasetListing:
    """Lists the pictures, texts or sounds of a CSV file: files sorted by path, texts of cells as they stand there.

    Args:
        table: The file, in UTF-8, with commas, semicolons or tabs. Paths are relative to its folder; a label
            cell holds one class name, several joined by `|`, or a number. A cell of the column text holds a text.
        task: How to read the labels; `auto` decides by their looks and says so in the notes.
        form: What is wanted; empty where that is not known. Paths that do not end like it may be something else.

    Raises:
        UserError: The file cannot be read, lacks a column, or a cell cannot be used; the line is named.
    """
    column, rows = _rows(table, form)
    if not rows:
        one_line = "text and its" if column == "text" else "file: its path and its"
        raise UserError(f"{table} has no lines below its header. Write one line per {one_line} label.")
    notes: list[str] = []
    chosen = _choose_task(rows, column, notes) if task == "auto" else task
    with_split = any(row.split for row in rows)
    if column == "text":
        found = _texts(table, rows, chosen, with_split, notes)
        return DatasetListing(str(table), found, chosen, _classes(found, chosen), notes, "texts")
    examples: dict[str, tuple[Example, int]] = {}
    for row in rows:
        example = _example(table, row, chosen, with_split)
        earlier, line = examples.setdefault(example.name, (example, row.line))
        if earlier != example:
            raise UserError(
                f"{table} lists {example.name} twice, with different labels or splits, on lines {line} and {row.line}. "
                f"Keep one of them; several labels of one file go into one cell, joined by {JOINER}."
            )
    if len(examples) < len(rows):
        notes.append(f"Lines that repeat an earlier line were skipped: {len(rows) - len(examples)}.")
    found = sorted((example for example, _ in examples.values()), key=lambda example: example.name)
    own = _form_of(table, found, form)
    if not any(example.path.exists() for example in found):
        raise UserError(
            f"None of the {own} in {table} exists, the first would be {found[0].path}. "
            "Write paths relative to the folder of the CSV file."
        )
    return DatasetListing(str(table), found, chosen, _classes(found, chosen), notes, own)


def _rows(table: Path, form: str) -> tuple[str, list[_Row]]:
    """Returns the column of the examples, path or text, and the lines that are not empty, with stripped cells."""
    if not table.is_file():
        raise UserError(f"There is no file {table}. Give a CSV file with the columns path and label.")
    csv.field_size_limit(GREATEST_CELL)
    try:
        # utf-8-sig drops the byte order mark that spreadsheets write.
        with table.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count), restval="")
            reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or []]
            column = "text" if "text" in reader.fieldnames and form == "texts" else "path"
            column = column if column in reader.fieldnames else "text"
            if not {column, "label"} <= set(reader.fieldnames):
                found = ", ".join(reader.fieldnames) or "none"
                raise UserError(
                    f"{table} needs a header line with the columns path and label, or text and label, and optionally "
                    f"split. The columns found are: {found}."
                )
            return column, [row for cells in reader if (row := _row(table, reader.line_num, cells, column))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{table} cannot be read as CSV in UTF-8 ({error}). Save it again as CSV UTF-8.") from error


def _row(table: Path, line: int, cells: dict[str | None, Any], column: str) -> _Row | None:
    """Returns a line of the file, None if it is empty."""
    if column == "text" and cells.get(None):  # the rest of a text would be lost, or taken for a label
        raise UserError(
            f"Line {line} of {table} has more cells than the header. Put texts that hold the separator or a line break "
            "between double quotes."
        )
    cell, label, split = (cells.get(name, "").strip() for name in (column, "label", "split"))
    return _Row(line, cell, label, split) if cell or label or split else None


def _texts(table: Path, rows: list[_Row], task: str, with_split: bool, notes: list[str]) -> list[Example]:
    """Returns the texts of cells, each once with one label, named by their line and their beginning.

    Raises:
        UserError: A text is in two splits, so that some of them would be judged by what was learnt by heart.
    """
    found: dict[tuple, Example] = {}
    splits: dict[str, tuple[Split | None, int]] = {}
    for row in rows:
        label, split = _label(table, row, task), _split(table, row) if with_split else None
        name = f"line {row.line}: {' '.join(row.cell.split())[:NAME_LENGTH]}"
        found.setdefault((row.cell, label), Example(name, label, split, content=row.cell.encode()))
        earlier, line = splits.setdefault(row.cell, (split, row.line))
        if earlier != split:
            raise UserError(
                f"{table} has the same text twice in different splits, {earlier} and {split}, on lines {line} and "
                f"{row.line}. Keep one of them."
            )
    if len(found) < len(rows):
        notes.append(f"Lines that repeat an earlier line were skipped: {len(rows) - len(found)}.")
    if again := len(found) - len(splits):
        notes.append(f"Texts that stand there again, with another label, were kept: {again}.")
    return list(found.values())


def _form_of(table: Path, examples: list[Example], wanted: str) -> ModalityName:
    """Tells by the extensions what the files are; all that are neither texts nor sounds are taken for pictures."""
    counts = count_forms(Counter(example.path.suffix.lower() for example in examples))
    counts["pictures"] += len(examples) - counts.total()
    return "pictures" if wanted == "pictures" and counts["pictures"] else majority(counts, str(table))


def _choose_task(rows: list[_Row], column: str, notes: list[str]) -> Task:
    suffix = Path(rows[0].cell).suffix.lower()
    unit = (
        one(next((form for form in SUFFIXES if suffix in SUFFIXES[form]), "pictures")) if column == "path" else "text"
    )
    labels = [row.label for row in rows]
    if any(JOINER in label for label in labels):
        notes.append(f"Labels are read as several per {unit} (multi_label), as cells contain {JOINER}.")
        return "multi_label"
    if all(_is_number(label) for label in labels):
        if any("." in label for label in labels):
            notes.append("Labels are read as quantities (regression), as all cells are numbers, some with a point.")
            return "regression"
        notes.append("Labels are read as classes (single_label), as all cells are whole numbers.")
        return "single_label"
    notes.append(f"Labels are read as one class per {unit} (single_label).")
    return "single_label"


def _example(table: Path, row: _Row, task: str, with_split: bool) -> Example:
    if not row.cell:
        raise UserError(f"Line {row.line} of {table} has no path. Write where the file is, or delete the line.")
    name = PurePosixPath(row.cell.replace("\\", "/")).as_posix()
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
