"""A data set of TensorFlow Datasets, by name or by folder; needs the optional package tensorflow-datasets."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkeras.data import folders
from tlkeras.data.example import SPLIT_WORDS, DatasetListing, Example, Split
from tlkeras.data.example import Label as LabelValue
from tlkeras.data.tfds.builder import holds_data_sets, import_tfds, one_line, open_folder, open_named
from tlkeras.data.tfds.features import Keys, LabelFeature, find_features
from tlkeras.data.tfds.name import Part, TfdsName, parse_name
from tlkeras.data.tfds.records import find_in, records_of
from tlkeras.errors import UserError
from tlkeras.runtime import load_tensorflow


@dataclass(frozen=True)
class _Rows:
    """Pictures of one of the data set's own splits, from one number up to another, and what they are for."""

    own: str
    start: int
    stop: int
    split: Split | None
    rule: str


def find(text: str, data_dir: str | None = None) -> DatasetListing:
    """Lists the pictures of a data set, which is downloaded and prepared first where it is not.

    Nothing is copied. Where TFDS wrote TFRecord files, as it does unless told otherwise, the pictures stay in them and
    are read from there, so a large data set takes no memory; of the other formats, the encoded pictures are kept in
    memory. Examples without a label (TFDS writes -1) are left out.

    Args:
        text: What stands behind `tfds:`, see `tlkeras.data.tfds.name.parse_name`. A folder that holds no
            prepared data set but pictures in the layout of `tfds.ImageFolder` is read as any folder is.
        data_dir: Where TFDS keeps its data sets; None is `TFDS_DATA_DIR`, or TFDS's own default.

    Raises:
        UserError: The package is not installed, there is no such data set, it has no picture or no label, its parts
            overlap, it is damaged, or it is not prepared and cannot be downloaded.
    """
    wanted = parse_name(text)
    if wanted.folder and not holds_data_sets(wanted.folder):
        return _folder_of_pictures(text, wanted)
    tfds = import_tfds(text)
    builder = open_folder(tfds, wanted.folder) if wanted.folder else open_named(tfds, wanted, data_dir)
    picture, label = find_features(tfds, text, builder.info)
    notes: list[str] = []
    examples: list[Example] = []
    parts = wanted.parts or _own_parts(text, list(builder.info.splits), notes)
    for rows in _resolve(tfds, text, builder.info.splits, parts):
        found = list(_read(tfds, text, builder, rows, picture, label))
        examples += [example for example in found if example.label is not None]
        if unlabelled := sum(example.label is None for example in found):
            notes.append(f"Of the split {rows.own}, {unlabelled} pictures have no label and were left out.")
    if not examples:
        raise UserError(f"tfds:{text} has no picture with a label. Give another data set.")
    classes = sorted({str(example.label) for example in examples}) if label.classes is None else label.classes
    return DatasetListing(f"tfds:{text}", examples, label.task, classes, notes)


def _folder_of_pictures(text: str, wanted: TfdsName) -> DatasetListing:
    if wanted.parts:
        raise UserError(
            f"tfds:{text} is a folder without a prepared data set, and only of those parts can be taken. Give --data "
            f"{wanted.folder} for a folder of pictures, or the folder in which dataset_info.json lies."
        )
    return folders.find(wanted.folder, name=f"tfds:{text}")


def _own_parts(text: str, words: list[str], notes: list[str]) -> list[Part]:
    """Returns the data set's own train, validation and test, or one split that is still to be split."""
    if not words:
        raise UserError(f"tfds:{text} has no splits, so it holds no pictures. Prepare it again with tfds build.")
    known = [Part(word, SPLIT_WORDS[word]) for word in words if word in SPLIT_WORDS]
    if len(known) > 1:
        if others := [word for word in words if word not in SPLIT_WORDS]:
            notes.append(f"Other splits of the data set were ignored: {', '.join(others)}.")
        return known
    word = known[0].rule if known else words[0]
    if len(words) > 1:
        notes.append(f"Only the split {word} is used, of {', '.join(words)}.")
    return [Part(word, None)]


def _resolve(tfds: Any, text: str, splits: Any, parts: list[Part]) -> list[_Rows]:
    """Turns parts into numbers of pictures, in order; no picture may be in two of them."""
    found: list[_Rows] = []
    for part in parts:
        try:
            pieces = tfds.core.ReadInstruction.from_spec(part.rule).to_absolute(splits)
        except Exception as error:  # no such split, beyond its end, more than 100 %
            own = ", ".join(f"{word} ({splits[word].num_examples:,} pictures)" for word in splits)
            raise UserError(
                f"The part {part.rule} of tfds:{text} cannot be had ({one_line(error)}). Its splits are {own}."
            ) from error
        for piece in pieces:
            count = splits[piece.splitname].num_examples
            start, stop = piece.from_ or 0, count if piece.to is None else piece.to
            if stop <= start:
                raise UserError(
                    f"The part {part.rule} of tfds:{text} holds no pictures: {piece.splitname} has {count:,}."
                )
            found.append(_Rows(piece.splitname, start, stop, part.split, part.rule))
    ordered = sorted(found, key=lambda rows: (rows.own, rows.start))
    for first, second in itertools.pairwise(ordered):
        if first.own == second.own and second.start < first.stop:
            raise UserError(
                f"The parts {first.rule} and {second.rule} of tfds:{text} overlap: they share "
                f"{min(first.stop, second.stop) - second.start:,} pictures of {first.own}, from number "
                f"{second.start:,} on. What is learnt from must not be judged: give parts that share none."
            )
    return found


def _read(tfds: Any, text: str, builder: Any, rows: _Rows, picture: Keys, label: LabelFeature) -> Iterator[Example]:
    """Yields the examples; those without a label have None for one."""
    place = f"{builder.info.full_name}/{rows.own}"
    instruction = tfds.core.ReadInstruction(rows.own, from_=rows.start, to=rows.stop, unit="abs")
    try:
        data = _open(tfds, builder, instruction, picture, label.keys)
        records = itertools.chain(records_of(builder.info, instruction), itertools.repeat(None))
        for number, row, record in zip(itertools.count(rows.start), data, records, strict=False):
            content = _value(row, picture)
            span = find_in(record, content) if record else None
            yield Example(
                f"{place}#{number}",
                _label_value(_value(row, label.keys), label),
                rows.split,
                path=record.file if span else None,
                span=span,
                content=None if span else content,
            )
    except Exception as error:  # TensorFlow's own errors: a file is missing, cut off or damaged
        raise UserError(
            f"tfds:{text} cannot be read from {builder.data_dir} ({one_line(error)}). Prepare it again with "
            "tfds build --overwrite."
        ) from error


def _open(tfds: Any, builder: Any, instruction: Any, picture: Keys, label: Keys) -> Iterable[dict[str, Any]]:
    """Returns the rows in the order of their numbers, with encoded pictures, as the format of the files can be read."""
    encoded = _nested([(picture, tfds.decode.SkipDecoding())])
    if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        return builder.as_data_source(split=instruction, decoders=encoded)
    load_tensorflow()
    rows = builder.as_dataset(
        split=instruction,
        shuffle_files=False,
        decoders=tfds.decode.PartialDecoding(_nested([(picture, True), (label, True)]), decoders=encoded),
        # One file after another; TFDS would take turns.
        read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
    )
    return tfds.as_numpy(rows)


def _nested(leaves: list[tuple[Keys, Any]]) -> dict[str, Any]:
    """A dictionary of dictionaries that holds each value at its keys."""
    tree: dict[str, Any] = {}
    for keys, value in leaves:
        inner = tree
        for key in keys[:-1]:
            inner = inner.setdefault(key, {})
        inner[keys[-1]] = value
    return tree


def _value(row: dict[str, Any], keys: Keys) -> Any:
    for key in keys:
        row = row[key]
    return row


def _label_value(value: Any, label: LabelFeature) -> LabelValue:
    """The label as tlkeras writes it; None where there is none."""
    if isinstance(value, bytes):
        return value.decode(errors="replace") or None
    if label.task == "regression":
        return float(value) if np.isfinite(value) else None
    if (np.asarray(value) < 0).any():
        return None
    if label.task == "multi_label":
        return tuple(sorted(label.classes[number] for number in set(value)))
    return str(value) if label.classes is None else label.classes[value]
