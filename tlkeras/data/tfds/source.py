"""List the labeled images of a dataset of TensorFlow Datasets, and where each lies on the disk."""

import functools
import itertools
import logging
import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import tensorflow_datasets as tfds

from tlkeras.config.fields import Task
from tlkeras.data.example import SPLIT_WORDS, DatasetListing, Example, Label, Split
from tlkeras.data.tfds import parse_name
from tlkeras.data.tfds.builder import one_line, open_builder
from tlkeras.errors import UserError
from tlkeras.modalities.base import DecodeError
from tlkeras.modalities.image import ImageModality
from tlkeras.runtime import load_tensorflow

Keys = tuple[str, ...]  # of nested features, from the outside in: ("objects", "label")
BATCH = 256  # rows that TensorFlow hands over at a time: several times as fast as one by one

logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS talks through it


class LabelFeature(NamedTuple):
    """A feature that can be predicted; without classes its values are the names."""

    task: Task
    classes: list[str] | None = None


def list_examples(text: str, data_dir: str | None) -> DatasetListing:
    """List the images of a dataset; those without a label (TFDS writes -1) are skipped.

    Nothing is copied: in TFRecord files, which TFDS writes unless told otherwise, the images are read where they lie.
    From array_record files they are read when they are asked for; of other formats, the encoded images are in memory.
    """
    wanted = parse_name(text)
    builder = open_builder(wanted, data_dir)
    image, keys, label = _find_features(text, builder.info)
    notes: list[str] = []
    examples: list[Example] = []
    parts = wanted.parts or _own_parts(text, list(builder.info.splits), notes)
    for split, piece in _pieces(text, builder.info.splits, parts):
        try:
            found = list(_read(builder, split, piece, image, keys, label))
        except Exception as error:  # TensorFlow's own errors: a file is missing, truncated or damaged
            raise UserError(
                f"tfds:{text} cannot be read from {builder.data_dir} ({one_line(error)}). Prepare it again with "
                "tfds build --overwrite."
            ) from error
        examples += (labeled := [example for example in found if example.label is not None])
        if skipped := len(found) - len(labeled):
            notes.append(f"Skipped {ImageModality.count_noun(skipped)} of {piece.split_name} without a label.")
    if not examples:
        raise UserError(f"tfds:{text} has no image with a label. Give another dataset.")
    classes = sorted({str(example.label) for example in examples}) if label.classes is None else label.classes
    return DatasetListing(f"tfds:{text}", examples, label.task, classes, notes)


def _find_features(text: str, info: tfds.core.DatasetInfo) -> tuple[Keys, Keys, LabelFeature]:
    """Return where the image is, and where and what the label is.

    The dataset's own `supervised_keys` come first, then the usual names (`image`; `label`, `labels`, also inside such
    as `objects`), then the only one there is: one class, several classes, a number.
    """
    features = sorted(_walk(info.features, ()), key=lambda found: found[0])  # read from files, they have any order
    own = [(key,) for key in info.supervised_keys or () if isinstance(key, str)]
    images = [keys for keys, feature, many in features if _is_image(feature) and not many]
    labels = {keys: label for keys, feature, many in features if (label := _label(feature, many))}
    usual = sorted((keys for keys in labels if keys[-1] in ("label", "labels")), key=lambda keys: (len(keys), keys[-1]))
    # Text and integers are labels only where the dataset says so, or by a usual name.
    fitting = {keys: label.task for keys, label in labels.items() if label.classes is not None}
    tasks = ([keys for keys in fitting if fitting[keys] == task] for task in get_args(Task))
    candidates = next(filter(None, tasks), [])
    image = next((keys for keys in [*own, ("image",)] if keys in images), images[0] if len(images) == 1 else None)
    label = next((keys for keys in own + usual if keys in labels), candidates[0] if len(candidates) == 1 else None)
    if image is None or label is None:
        lacking, found = ("image", images) if image is None else ("label", candidates)
        several = f"several that could be the {lacking}: {', '.join(map('.'.join, found))}"
        known = (f"{'.'.join(keys)} ({'list of ' * many}{type(feature).__name__})" for keys, feature, many in features)
        raise UserError(
            f"tfds:{text} has {several if found else f'no {lacking}'}. Its features are {', '.join(known)}. One image "
            "of each example is needed, and a class, several classes or a number: else write the images to a folder "
            "and list them in a CSV file."
        )
    dtype = next(np.dtype(feature.np_dtype) for keys, feature, _ in features if keys == image)
    if dtype.kind != "u":
        raise UserError(
            f"The images of tfds:{text} are {dtype}, not 8 or 16 bits. Write them as PNG files to a folder."
        )
    return image, label, labels[label]


def _walk(feature: Any, keys: Keys, many: bool = False) -> Iterator[tuple[Keys, Any, bool]]:
    """Yield each feature with its keys, and whether an example holds a list of them."""
    if isinstance(feature, tfds.features.FeaturesDict):
        for key, inner in feature.items():
            yield from _walk(inner, (*keys, key), many)
    # A list of fixed length is another thing: its positions mean something, as of findings that are there or not.
    elif type(feature) is tfds.features.Sequence and not many and feature._length is None:
        yield from _walk(feature.feature, keys, many=True)
    else:
        yield keys, feature, many


def _is_image(feature: Any) -> bool:
    # A map of labels for each pixel is a kind of image to TFDS.
    return isinstance(feature, tfds.features.Image) and not isinstance(feature, tfds.features.LabeledImage)


def _label(feature: Any, many: bool) -> LabelFeature | None:
    """Return what a feature is as a label; None if it is none."""
    if isinstance(feature, tfds.features.ClassLabel):
        task: Task = "multi_label" if many else "single_label"
        return LabelFeature(task, list(feature.names)) if feature.num_classes else None
    if many or feature.shape != ():
        return None
    if np.dtype(feature.np_dtype) == bool:
        return LabelFeature("single_label", ["False", "True"])
    if isinstance(feature, tfds.features.Text) or np.issubdtype(feature.np_dtype, np.integer):
        return LabelFeature("single_label")
    return LabelFeature("regression", []) if np.issubdtype(feature.np_dtype, np.floating) else None


def _own_parts(text: str, words: list[str], notes: list[str]) -> dict[Split | None, str]:
    """Return the dataset's own train, validation and test, or one split that is still to be split."""
    if not words:
        raise UserError(f"tfds:{text} has no splits, so it holds no images. Prepare it again with tfds build.")
    known = [word for word in words if word in SPLIT_WORDS]
    used = known if len(known) > 1 else (known or words)[:1]
    if others := [word for word in words if word not in used]:
        notes.append(f"Ignored other splits of the dataset: {', '.join(others)}.")
    if len(used) == 1:
        return {None: used[0]}
    splits = dict.fromkeys(SPLIT_WORDS[word] for word in used)
    return {split: "+".join(word for word in used if SPLIT_WORDS[word] == split) for split in splits}


def _pieces(text: str, splits: Any, parts: dict[Split | None, str]) -> list[tuple[Split | None, Any]]:
    """Return what to read for each split of the run, in pieces of one split of the dataset; no image may be in two."""
    found = []
    for split, rule in parts.items():
        try:
            pieces = tfds.core.ReadInstruction.from_spec(rule).to_absolute(splits)
        except Exception as error:  # no such split, beyond its end, more than 100 %
            own = ", ".join(f"{word} ({ImageModality.count_noun(splits[word].num_examples)})" for word in splits)
            raise UserError(
                f"The part {rule} of tfds:{text} cannot be read ({one_line(error)}). Its splits are {own}."
            ) from error
        for piece in pieces:
            count = splits[piece.splitname].num_examples
            start, stop = piece.from_ or 0, count if piece.to is None else piece.to
            if stop <= start:
                raise UserError(f"The part {rule} of tfds:{text} holds no images: {piece.splitname} has {count:,}.")
            found.append((split, tfds.core.ReadInstruction(piece.splitname, start, stop, unit="abs")))
    ordered = sorted(found, key=lambda pair: (pair[1].split_name, pair[1].from_))
    for (first, one), (second, other) in itertools.pairwise(ordered):
        if one.split_name == other.split_name and other.from_ < one.to:
            raise UserError(
                f"The parts {parts[first]} and {parts[second]} of tfds:{text} overlap: they share "
                f"{ImageModality.count_noun(min(one.to, other.to) - other.from_)} of {one.split_name}, from index "
                f"{other.from_:,} on. Give parts that share none."
            )
    return found


def _read(
    builder: Any, split: Split | None, piece: Any, image: Keys, keys: Keys, label: LabelFeature
) -> Iterator[Example]:
    """Yield the examples in the order of their indices; those without a label have None for one."""
    info = builder.info
    encoded = functools.reduce(lambda inner, key: {key: inner}, reversed(image), tfds.decode.SkipDecoding())
    records: Iterator[tuple[Path | None, int, bytes]] = itertools.repeat((None, 0, b""))
    if info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
        stored = builder.as_data_source(split=piece, decoders=encoded)
        rows = ((functools.partial(_image, stored, index, image), _pick(row, keys)) for index, row in enumerate(stored))
    else:
        load_tensorflow()
        decoders = tfds.decode.PartialDecoding({image[0]: True, keys[0]: True}, encoded)
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)  # one file after another, not in turns
        batches = builder.as_dataset(split=piece, decoders=decoders, read_config=config)
        batches = batches.map(lambda row: (_pick(row, image), _pick(row, keys))).ragged_batch(BATCH)
        rows = (row for images, values in batches for row in zip(images.numpy(), values.numpy(), strict=True))
        if info.file_format == tfds.core.FileFormat.TFRECORD:
            records = itertools.chain(_records(info.splits[piece].file_instructions), records)
    for index, (content, value), (file, start, record) in zip(
        itertools.count(piece.from_), rows, records, strict=False
    ):
        offset = record.find(content) if file else -1
        where = {"path": file, "span": (start + offset, len(content))} if offset >= 0 else {"content": content}
        name = f"{info.full_name}/{piece.split_name}#{index}"
        yield Example(name, _label_value(value, label), split, **where)


def _pick(row: Any, keys: Keys) -> Any:
    return functools.reduce(operator.getitem, keys, row)


def _image(stored: Any, index: int, keys: Keys) -> bytes:
    try:
        return _pick(stored[index], keys)
    except Exception as error:  # the file was readable when it was listed
        raise DecodeError(one_line(error)) from error


def _records(instructions: Any) -> Iterator[tuple[Path, int, bytes]]:
    """Yield file, offset and bytes of each record of TFRecord files that is to be read; TFDS compresses none."""
    import tensorflow as tf

    for part in instructions:
        file, end = Path(part.filename), 0
        batches = tf.data.TFRecordDataset(part.filename).take(part.skip + part.take).batch(BATCH).as_numpy_iterator()
        for index, record in enumerate(itertools.chain.from_iterable(batches)):
            start, end = end + 12, end + 12 + len(record) + 4  # a length and its checksum, the record, its checksum
            if index >= part.skip:
                yield file, start, record


def _label_value(value: Any, label: LabelFeature) -> Label:
    """Return the label as tlkeras writes it; None where there is none."""
    if isinstance(value, bytes):
        return value.decode(errors="replace") or None
    if label.task == "regression":
        return float(value) if np.isfinite(value) else None
    if (np.asarray(value) < 0).any():
        return None
    if label.classes is None:
        return str(value)
    if label.task == "multi_label":
        return tuple(sorted(label.classes[index] for index in set(value)))
    return label.classes[int(value)]
