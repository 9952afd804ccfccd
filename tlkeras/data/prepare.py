"""From options to decoded, split examples, without TensorFlow: what can be wrong with the data comes first."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkeras.backbones import BACKBONES, Backbone, check_image_size
from tlkeras.config import SECONDS, DataOptions, Task, check_modality, check_values
from tlkeras.modalities.image import short_side
from tlkeras.data.example import Example, DatasetListing
from tlkeras.io.arrays import FileArray
from tlkeras.modalities.base import Form, pictures, sounds, texts, count_noun
from tlkeras.data.loading import decode_all, sample_median
from tlkeras.modalities.audio import seconds_of
from tlkeras.data.sources import find_examples
from tlkeras.data.splits import split_examples
from tlkeras.errors import UserError
from tlkeras.extras.hub.spec import resolve_spec, load_module_spec

log = logging.getLogger("tlkeras")

# Small pictures are enlarged at most this much by default: 8-pixel digits are looked at with 64 pixels, not 224.
GREATEST_ENLARGEMENT = 8
SAMPLE_RATE = 16_000  # a second, what most modules for sounds were trained on
GREATEST_SECONDS = 10.0  # of sounds, by default


@dataclass(frozen=True)
class PreparedData:
    """Decoded examples of a data set and who belongs to which split.

    Attributes:
        task: what a label is.
        classes: class names in the order of the model's outputs; empty for regression.
        form: what `inputs` are.
        inputs: pictures: uint8 `(N, S, S, 3)`, RGB 0–255; texts: `(N,)` of str; sounds: float32 `(N, samples)`, -1 to
            1; in memory or in a file.
        examples: the N examples in the same order.
        splits: for "train", "validation" and, where there is one, "test", indices into `examples`.
        unreadable: examples that were set aside, with the reason.
    """

    task: Task
    classes: list[str]
    form: Form
    inputs: np.ndarray | FileArray
    examples: list[Example]
    splits: dict[str, np.ndarray]
    unreadable: list[tuple[Example, str]]

    @property
    def image_size(self) -> int | None:
        """Pixels a side of pictures; None for texts and sounds."""
        return self.form.image_size


@dataclass(frozen=True)
class FoundData:
    """Examples that were found, none of them decoded yet.

    Attributes:
        source: the examples and what they are.
        row: of the backbone.
        form: what they will be decoded to.
    """

    source: DatasetListing
    spec: Backbone
    form: Form


def prepare_data(
    options: DataOptions, backbone: str | Backbone, image_size: int | None = None, seed: int = 0
) -> PreparedData:
    """Find, split and decode the examples.

    Args:
        options: which examples, and the shares of the splits.
        backbone: a name from the table, `hub:HANDLE`, or a row: its size is what pictures are brought to.
        image_size: another size, pixels a side.
        seed: of the split.

    Returns:
        The examples, such as pictures, uint8 `(N, S, S, 3)`, RGB 0–255, with classes and splits.

    Raises:
        UserError: for whatever is wrong with the data or the options, before anything slow where possible.
    """
    check_values(options)
    return decode_data(find_data(options, resolve_spec(backbone), image_size, seed), options, seed)


def find_data(options: DataOptions, spec: Backbone, image_size: int | None, seed: int) -> FoundData:
    """The first, quick half of `prepare_data`: all that can be told without decoding.

    A hub module is asked for its size, so TensorFlow loads then.

    Args:
        options: which examples, and the shares of the splits.
        row: the backbone.
        image_size: pixels a side; None is the backbone's own, or less where the pictures are tiny.
        seed: of the split.

    Raises:
        UserError: for whatever is wrong with the data, or they are not what the backbone takes.
    """
    source = find_examples(options.data, options.task, data_dir=options.data_dir, form=spec.form)
    check_modality(options, source.name, source.form)
    check_taken(source, spec, image_size)
    split_examples(source.examples, source.task, (options.validation_split, options.test_split), seed, source.form)
    for note in source.notes:
        log.info("Note: %s", note)
    spec = load_module_spec(spec)
    check_taken(source, spec, image_size)
    return FoundData(source, spec, form_of(source, spec, image_size, options))


def check_taken(source: DatasetListing, spec: Backbone, image_size: int | None) -> None:
    """Refuse data that a backbone does not take, and options that say nothing about them.

    Args:
        source: the data.
        row: the backbone, which may be a hub module that has not been asked yet.
        image_size: as it was given.

    Raises:
        UserError: with what takes such data.
    """
    if spec.form not in ("", source.form):
        known = [other.name for other in BACKBONES.values() if other.form == source.form]
        backbones = f"{', '.join(known[:5])} or a hub module (hub:HANDLE)" if known else "a hub module (hub:HANDLE)"
        raise UserError(
            f"{spec.name} takes {spec.form}, and {source.name} holds {source.form}. Give {spec.form}, or a backbone that "
            f"takes {source.form}: {backbones}."
        )
    if source.form != "pictures" and image_size is not None:
        raise UserError(f"--image-size was {image_size}, but {source.name} holds {source.form}; leave it out.")


def form_of(source: DatasetListing, spec: Backbone, image_size: int | None, options: DataOptions) -> Form:
    """What the examples of a source are decoded to for a backbone.

    Args:
        source: the data.
        row: the backbone, which takes such data.
        image_size: pixels a side, where it was given.
        options: rate and length of sounds, where they were given.

    Raises:
        UserError: the backbone does not take that size or length.
    """
    if source.form == "texts":
        return texts()
    if source.form == "sounds":
        rate = options.sample_rate or SAMPLE_RATE
        return sounds(sound_length(source.examples, spec, rate, options.seconds), rate)
    check_image_size(spec, image_size)
    return pictures(image_size or default_image_size(spec, source.examples))


def decode_data(found: FoundData, options: DataOptions, seed: int) -> PreparedData:
    """The second half of `prepare_data`."""
    source = found.source
    decoded = decode_all(source.examples, found.form, options.max_unreadable, options.memory_gb)
    for note in decoded.notes:
        log.info("Note: %s", note)
    for example, reason in decoded.unreadable:
        log.warning("Set aside, unreadable: %s (%s)", example.name, reason)
    shares = (options.validation_split, options.test_split)
    splits = split_examples(decoded.examples, source.task, shares, seed, source.form)
    counts = ", ".join(f"{name} {len(rows):,}" for name, rows in splits.items())
    kind = "regression" if source.task == "regression" else f"{len(source.classes)} classes"
    count = f"{len(decoded.examples):,} {count_noun(source.form)}"
    log.info("Data: %s, %s, %s (%s).", source.name, count, kind, counts)
    return PreparedData(
        task=source.task,
        classes=source.classes,
        form=found.form,
        inputs=decoded.inputs,
        examples=decoded.examples,
        splits=dict(splits),
        unreadable=decoded.unreadable,
    )


def sound_length(examples: Sequence[Example], spec: Backbone, rate: int, seconds: float | None) -> int:
    """Samples of a sound: what the backbone takes, else what was given, else the usual length, at most ten seconds.

    Args:
        examples: the sounds.
        row: the backbone.
        rate: samples a second.
        seconds: where they were given.

    Raises:
        UserError: the backbone takes another length, or one that no sound has.
    """
    own = spec.max_size
    if own and seconds is not None and round(seconds * rate) != own:
        raise UserError(
            f"--seconds was {seconds}; {spec.name} takes {own:,} samples, {own / rate:g} seconds at {rate:,} samples a "
            "second. Leave it out, or give another --sample-rate."
        )
    if own and not SECONDS[0] <= own / rate <= SECONDS[1]:
        raise UserError(
            f"{spec.name} takes {own:,} samples, {own / rate:g} seconds at {rate:,} samples a second; "
            f"sounds may have {SECONDS[0]} to {SECONDS[1]:g}. Give the --sample-rate that the module knows, or another "
            "module."
        )
    usual = min(GREATEST_SECONDS, max(SECONDS[0], sample_median(examples, seconds_of) or 1.0))
    return own or max(1, round((seconds or usual) * rate))


def default_image_size(spec: Backbone, examples: Sequence[Example]) -> int:
    """The backbone's own size, or less where the pictures are tiny."""
    side = sample_median(examples, short_side)
    if side is None:
        return spec.default_size
    return min(spec.default_size, max(spec.min_size, GREATEST_ENLARGEMENT * int(side)))


def write_unreadable(path: Path, unreadable: Sequence[tuple[Example, str]]) -> None:
    """List what was set aside, as CSV of path and reason."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "reason"])
        writer.writerows((example.name, reason) for example, reason in unreadable)
