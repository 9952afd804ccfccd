"""A CSV file or a DataFrame with the columns path or text, label, and optionally split and group."""

import ast
import csv
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from tlkeras.config.fields import Task, TaskOption
from tlkeras.data.example import (
    JOINER,
    DatasetListing,
    Example,
    Label,
    Split,
    class_names,
    plain_text,
    split_of,
)
from tlkeras.errors import UserError, first_sentence
from tlkeras.modalities.base import Modality, count_modalities, known_modalities, majority
from tlkeras.modalities.image import ImageModality

Labels = Iterator[tuple[Label, Split | None]]
MISSING = ("nan", "NaN", "<NA>", "#N/A")  # what pandas and spreadsheets write where there is no label
EMPTY_WORDS = {"NA", "N/A", "n/a", "None", "none", "NULL", "null"}  # classes that may mean the same
NAME_LENGTH = 40  # characters of a text that name it
FRAME = Path("DataFrame")  # what messages call it; its parent is the working directory
MAX_CELL = 10_000_000  # characters; a text that is too long is skipped like a file


class _Row(NamedTuple):
    line: int
    cell: str
    label: str
    split: str
    group: str


def find(table: Path, task: TaskOption, modality: type[Modality] | None = ImageModality) -> DatasetListing:
    """List the examples of a CSV file: files sorted by path, texts of cells in their order.

    It is in UTF-8, with commas, semicolons or tabs. Paths are relative to its folder; a cell holds one class name,
    several joined by `|`, or a number. The task `auto` is decided by the looks of these labels.
    """
    return _listing(table, *_rows(table, modality), task, modality)


def find_in_frame(
    frame: Any, task: TaskOption, modality: type[Modality] | None = ImageModality, table: Path = FRAME
) -> DatasetListing:
    """List the examples of a pandas DataFrame, as `find` does; paths are relative to the folder of `table`."""
    names = {str(column).strip().lower(): column for column in frame.columns}
    inline, column = _column(table, list(names), modality)
    cells = {name: map(_text, frame[names[name]]) if name in names else [""] * len(frame)
             for name in (column, "label", "split", "group")}  # fmt: skip
    rows = [_Row(number, *row) for number, row in enumerate(zip(*cells.values(), strict=True), start=1)]
    return _listing(table, inline, rows, task, modality)


def _text(cell: Any) -> str:
    """Return a cell of a DataFrame as it would stand in a CSV file."""
    if isinstance(cell, list | tuple | set | frozenset):
        return JOINER.join(sorted(map(str, cell)))
    missing = cell is None or (not isinstance(cell, str) and str(cell) in ("nan", "<NA>", "NaT"))
    return "" if missing else str(cell).strip()


def _listing(
    table: Path, inline: type[Modality] | None, rows: list[_Row], task: TaskOption, modality: type[Modality] | None
) -> DatasetListing:
    if not rows:
        one_line = f"{inline.singular} and its" if inline else "file: its path and its"
        raise UserError(f"{table} has no lines below its header. Write one line per {one_line} label.")
    notes: list[str] = []
    if task in ("auto", "multi_label"):
        rows = _read_lists(table, rows)
    chosen = _choose_task(rows, inline, notes) if task == "auto" else task
    if chosen == "single_label":
        rows = _whole_numbers(rows)
        notes += _doubts(table, rows) if task == "auto" else []
    labels, read = _labels(table, rows, chosen), _files
    # [part: text]
    read = _texts if inline else _files
    # [/part]
    examples = read(table, rows, labels)
    if repeats := len(rows) - len(examples):
        notes.append(
            f"Skipped {repeats} {'line that repeats' if repeats == 1 else 'lines that repeat'} an earlier line."
        )
    if inline and (again := len(examples) - len({row.cell for row in rows})):
        notes.append(f"Kept {again} {inline.singular if again == 1 else inline.plural} with more than one label.")
    own = inline or _modality_of(table, examples, modality)
    paths = [example.path for example in examples if example.path]
    if paths and not any(path.exists() for path in paths):
        raise UserError(
            f"None of the {own.plural} in {table} exists, the first would be {paths[0]}. "
            f"Write paths relative to {table.absolute().parent}."
        )
    names = {name for example in examples for name in class_names(example.label)}
    return DatasetListing(str(table), examples, chosen, [] if chosen == "regression" else sorted(names), notes, own)


def _rows(table: Path, modality: type[Modality] | None) -> tuple[type[Modality] | None, list[_Row]]:
    """Return the modality whose examples are in the cells, None for paths, and the lines, with stripped cells."""
    if not table.is_file():
        raise UserError(f"There is no file {table}. Give a CSV file with the columns path and label.")
    csv.field_size_limit(MAX_CELL)
    try:
        # utf-8-sig drops the byte order mark that spreadsheets write.
        with table.open(newline="", encoding="utf-8-sig") as file:
            header = file.readline()
            file.seek(0)
            reader = csv.DictReader(file, delimiter=max(",;\t", key=header.count), restval="", skipinitialspace=True)
            reader.fieldnames = [column.strip().lower() for column in reader.fieldnames or []]
            inline, column = _column(table, reader.fieldnames, modality)
            return inline, [row for cells in reader if (row := _row(table, reader.line_num, cells, column))]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(
            f"{table} cannot be read as CSV in UTF-8 ({first_sentence(error)}). Save it again as CSV UTF-8."
        ) from error


def _column(table: Path, names: Sequence[str], modality: type[Modality] | None) -> tuple[type[Modality] | None, str]:
    """Return the column of the examples, and their modality where they are in the cells."""
    inline = {one.name: one for one in known_modalities() if one.inline}
    columns = [*inline, "path"] if modality and modality.inline else ["path", *inline]
    column = next((name for name in columns if name in names), "path")
    if twice := [name for name in (column, "label", "split") if list(names).count(name) > 1]:
        raise UserError(f"{table} has several columns called {twice[0]}. Keep one; several labels go into one cell, "
                        f"joined by {JOINER}.")  # fmt: skip
    if not {column, "label"} <= set(names):
        raise UserError(
            f"{table} needs a header line with the columns path and label, or text and label, and optionally "
            f"split and group. The columns found are: {', '.join(names) or 'none'}."
        )
    return inline.get(column), column


def _row(table: Path, line: int, cells: dict[str | None, Any], column: str) -> _Row | None:
    """Return a line of the file, None if it is empty."""
    extra = cells.get(None, [])
    if any(map(str.strip, extra)) or (extra and column != "path"):  # else a label or the rest of a text would be lost
        raise UserError(
            f"Line {line} of {table} has more cells than the header. Put what holds the separator or a line break "
            f"between double quotes; several labels go into one cell, joined by {JOINER}."
        )
    cell, label, split, group = (cells.get(name, "").strip() for name in (column, "label", "split", "group"))
    label, group = ("" if value in MISSING else plain_text(value) for value in (label, group))
    return _Row(line, cell, label, split, group) if cell or label or split or group else None


def _choose_task(rows: list[_Row], inline: type[Modality] | None, notes: list[str]) -> Task:
    suffix = Path(rows[0].cell).suffix.lower()
    of_suffix = next((one for one in known_modalities() if suffix in one.suffixes), ImageModality)
    labels = [row.label for row in rows if row.label]
    task: Task = "single_label"
    how = f"one class per {(inline or of_suffix).singular} (single_label)"
    if any(JOINER in label for label in labels):
        task = "multi_label"
        how = f"several per {(inline or of_suffix).singular} (multi_label), as cells contain {JOINER}"
    elif all(_is_number(label) for label in labels):
        how = "classes (single_label), as all cells are whole numbers; --task regression reads quantities"
        if any(float(label) % 1 for label in labels):
            task, how = "regression", "quantities (regression), as all cells are numbers, some with a point"
    notes.append(f"Labels are read as {how}.")
    return task


def _read_lists(table: Path, rows: list[_Row]) -> list[_Row]:
    """Return rows in which labels that are all Python lists, as pandas writes them, are joined by `|`."""
    if not all(re.fullmatch(r"\[.*\]", row.label) for row in rows if row.label):
        return rows
    read = []
    for row in rows:
        try:
            names = ast.literal_eval(row.label or "[]")
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            names = None
        # Without commas, as NumPy writes them, Python makes one name of two.
        quotes = len(re.findall(r"'[^']*'|\"[^\"]*\"", row.label))
        if names is None or any(JOINER in str(name) for name in names) or quotes not in (0, len(names)):
            raise UserError(
                f"The label on line {row.line} of {table} is {row.label}. Write several labels joined by {JOINER}, "
                f"as in cat{JOINER}dog."
            )
        read.append(row._replace(label=JOINER.join(map(str, names)) or JOINER))
    return read


def _whole_numbers(rows: list[_Row]) -> list[_Row]:
    """Return rows in which 1.0, as spreadsheets and pandas write it, is the class 1, where all labels are numbers."""
    if not all(_is_number(row.label) for row in rows if row.label):
        return rows
    return [row._replace(label=re.sub(r"\.0*$", "", row.label)) for row in rows]


def _doubts(table: Path, rows: list[_Row]) -> list[str]:
    """Return a sentence on labels that are read as one class each and may be several; refuse decimal commas."""
    names = {row.label for row in rows}
    if odd := next(
        (row for row in rows if re.fullmatch(r"[-+]?(\d[\d.,]*\s*%|\d{1,3}(,\d{3})+(\.\d+)?|inf)", row.label)), None
    ):
        raise UserError(
            f"The label on line {odd.line} of {table} is {odd.label}. Write numbers in plain digits, such as 1000 or "
            "0.5; --task single_label reads it as a class."
        )
    if decimal := next((row for row in rows if re.fullmatch(r"[-+]?\d+,\d+", row.label)), None):
        raise UserError(
            f"The label on line {decimal.line} of {table} is {decimal.label}. Write a number with a point, "
            f"{decimal.label.replace(',', '.')}, for a regression; several labels joined by {JOINER}, "
            f"{decimal.label.replace(',', JOINER)}."
        )
    notes = []
    if empty := sorted(names & EMPTY_WORDS):
        notes.append(f"The label {empty[0]} is read as a class. Delete these lines if it means that there is none.")
    for separator in (";", ",", " "):
        parts = {part.strip() for name in names for part in name.split(separator)}
        example = next((name for name in sorted(names) if separator in name), None)
        # A space is in many names; in labels that combine the same few words it joins them.
        if example and (separator != " " or len(parts) < len(names)):
            joined = JOINER.join(part.strip() for part in example.split(separator))
            notes.append(f"The label {example!r} is read as one class. If it is several, write {joined}.")
            break
    return notes


def _is_number(cell: str) -> bool:
    try:
        return math.isfinite(float(cell))
    except ValueError:
        return False


def _labels(table: Path, rows: list[_Row], task: str) -> Labels:
    """Yield the label and the split of each line; no line has a split, or each has one."""
    with_split = any(row.split for row in rows)
    return ((_label(table, row, task), _split(table, row) if with_split else None) for row in rows)


def _label(table: Path, row: _Row, task: str) -> Label:
    if task == "multi_label":
        return tuple(sorted({label.strip() for label in row.label.split(JOINER)} - {""}))
    if task == "regression" and not _is_number(row.label):
        found = repr(row.label) if row.label else "empty, or NaN"
        raise UserError(
            f"The label on line {row.line} of {table} is {found}. Regression needs a number there, such as 2.5."
        )
    if not row.label:
        raise UserError(
            f"Line {row.line} of {table} has no label (empty, or NaN). Write its class, or delete the line."
        )
    return float(row.label) if task == "regression" else row.label


def _split(table: Path, row: _Row) -> Split:
    split = split_of(row.split)
    if split is None:
        raise UserError(
            f"The split on line {row.line} of {table} is {row.split!r}. Write train, validation or test on every "
            "line, or leave the column out."
        )
    return split


def _files(table: Path, rows: list[_Row], labels: Labels) -> list[Example]:
    """Return the files of lines, each once; refuse one with two labels or splits."""
    found: dict[str, tuple[Example, int]] = {}
    for row, (label, split) in zip(rows, labels, strict=True):
        if not row.cell:
            raise UserError(f"Line {row.line} of {table} has no path. Write where the file is, or delete the line.")
        name = PurePosixPath(row.cell.replace("\\", "/")).as_posix()
        example = Example(plain_text(name), label, split, _in_either_form(table.parent / name), group=row.group or None)
        earlier, line = found.setdefault(name, (example, row.line))
        if earlier != example:
            raise UserError(
                f"{table} lists {name} twice, with different labels, splits or groups, on lines {line} and {row.line}. "
                f"Keep one of them; several labels of one file go into one cell, joined by {JOINER}."
            )
    return sorted((example for example, _ in found.values()), key=lambda example: example.name)


def _in_either_form(path: Path) -> Path:
    """Return the path in the Unicode form that the file system has; macOS writes it in another than a spreadsheet."""
    if str(path).isascii() or path.exists():
        return path
    forms = (Path(unicodedata.normalize(form, str(path))) for form in ("NFC", "NFD"))
    return next((form for form in forms if form.exists()), path)


# [part: text]
def _texts(table: Path, rows: list[_Row], labels: Labels) -> list[Example]:
    """Return the texts of cells, each once with one label, named by their line and their beginning.

    Refuse a text in two splits, as it would be evaluated by what was memorized.
    """
    found: dict[tuple[str, Label], Example] = {}
    splits: dict[str, tuple[Split | None, int]] = {}
    for row, (label, split) in zip(rows, labels, strict=True):
        name = f"line {row.line}: {' '.join(row.cell.split())[:NAME_LENGTH]}"
        found.setdefault(
            (row.cell, label), Example(name, label, split, content=row.cell.encode(), group=row.group or None)
        )
        earlier, line = splits.setdefault(row.cell, (split, row.line))
        if earlier != split:
            raise UserError(
                f"{table} has the same text twice in different splits, {earlier} and {split}, on lines {line} and "
                f"{row.line}. Keep one of them."
            )
    return list(found.values())


# [/part]
def _modality_of(table: Path, examples: list[Example], wanted: type[Modality] | None) -> type[Modality]:
    """Tell by the suffixes what the files are; all that are of no other modality are taken for images."""
    counts = count_modalities(Counter(example.path.suffix.lower() for example in examples if example.path))
    counts[ImageModality] += len(examples) - counts.total()
    return wanted if wanted and wanted.skips_others and counts[wanted] else majority(counts, str(table))
