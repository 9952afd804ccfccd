"""From options to decoded, split examples, without TensorFlow: what can be wrong with the data comes first."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

from tlkeras.backbones.registry import get_backbone_spec, prefixes
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.config.data import DataOptions
from tlkeras.config.fields import Task, check_applicable, check_values, with_options
from tlkeras.config.train import ModelOptions
from tlkeras.data.duplicates import link, near_duplicates, without_crowds
from tlkeras.data.example import DatasetListing, Example
from tlkeras.data.loading import decode_all, sample
from tlkeras.data.quality import Finding, content_digests, find_copies, find_problems, summary
from tlkeras.data.sources import describe, find_examples
from tlkeras.data.splits import draw_per_class, split_examples
from tlkeras.data.streaming import MAX_THUMBNAILS, Rows, StreamedRows
from tlkeras.errors import UserError
from tlkeras.modalities.base import SIDE, Modality, get_modality

log = logging.getLogger("tlkeras")
Config = TypeVar("Config", bound=DataOptions)
SHOWN = 10  # classes that are named


@dataclass(frozen=True, repr=False)
class PreparedData:
    """Decoded examples of a dataset and the split of each."""

    task: Task
    classes: list[str]  # in the order of the model's outputs; empty for regression
    modality: Modality
    inputs: Rows  # images: uint8 `(N, S, S, 3)`, RGB 0–255; else what the modality decodes
    examples: list[Example]  # in the order of `inputs`
    splits: dict[str, np.ndarray]  # indices for "train", "validation" and, where there is one, "test"
    unreadable: list[tuple[Example, str]]  # those that were skipped, each with the reason
    digests: list[str]  # of the decoded content of each of `examples`
    name: str = "data"  # what the user gave
    findings: Sequence[Finding] = ()  # of the quick data check

    def __repr__(self) -> str:
        classes = "numbers" if self.task == "regression" else f"{len(self.classes)} classes"
        splits = ", ".join(f"{name} {len(rows):,}" for name, rows in self.splits.items())
        return f"PreparedData({self.name}: {len(self.examples):,} {self.modality}, {classes}, {splits})"

    @property
    def image_size(self) -> int | None:
        """Return the size of images in pixels; None for other data."""
        return self.modality.options().get("image_size")


@dataclass(frozen=True)
class FoundData:
    """Examples that were found, none of them decoded yet."""

    listing: DatasetListing
    spec: BackboneSpec  # resolved
    modality: Modality  # how they will be decoded


def prepare_data(
    data: Any, backbone: str | BackboneSpec, image_size: int | None = None, seed: int = 0, **options: Any
) -> PreparedData:
    """Find, split and decode the examples.

    Args:
        data: a folder or CSV file; `(images, labels)`, a `tf.data.Dataset` or a `keras.utils.PyDataset` of images and
            labels, see `tlkeras.data.memory`; a dict of such with the keys "train", "validation" and "test"; a
            DataFrame with the columns `path` and `label`, perhaps `split`; or `DataOptions`.
        backbone: its name or spec; it tells the size that images are resized to.
        image_size: another size in pixels.
        seed: of the split.
        **options: those of `DataOptions`, such as `validation_split=0.2`.

    Returns:
        The examples, such as images, uint8 `(N, S, S, 3)`, RGB 0–255, with classes and splits.

    Raises:
        UserError: for whatever is wrong with the data or the options, before anything slow where possible.

    Example:
        >>> data = tlkeras.prepare_data("photos", "MobileNetV2")
    """
    given = data if isinstance(data, DataOptions) else DataOptions(data=data)
    chosen, data = name_data(with_options(given, options, "prepare_data"))
    check_values(chosen)
    chosen.check_data()
    # [part: choose]
    if chosen.resize == "auto":
        raise UserError("resize was auto, which only a training run decides; give crop, pad or squash.")
    # [/part]
    return decode_data(find_data(chosen, get_backbone_spec(backbone), image_size, seed, data), chosen, seed)


def name_data(options: Config, data: Any = None) -> tuple[Config, Any]:
    """Return options with a name or a word for the data, and the data: those beside the options, else in them."""
    given = options.data if data is None else data
    return dataclasses.replace(options, data=describe(given)), given


def find_data(
    options: DataOptions, spec: BackboneSpec, image_size: int | None, seed: int, data: Any = None
) -> FoundData:
    """Do the first, quick half of `prepare_data`: refuse all that can be told without decoding."""
    wanted = get_modality(spec.modality) if spec.modality else None
    listing = find_examples(
        options.data if data is None else data,
        options.task,
        modality=wanted,
        # [part: tfds]
        data_dir=options.data_dir,
        # [/part]
    )
    check_taken(listing, spec, options, image_size)
    if options.shots and listing.task != "single_label":
        raise UserError(
            f"--shots was {options.shots}; it needs one class for each example, and the task is {listing.task}. Leave "
            "it out."
        )
    fractions = options.validation_split, options.test_split
    split_examples(listing.examples, listing.task, fractions, seed, listing.modality)  # whether that can be done
    for note in listing.notes:
        log.info("Note: %s", note)
    spec = spec.resolve()
    check_taken(listing, spec, options, image_size)
    given = dataclasses.asdict(options) | {"image_size": image_size}
    modality = listing.modality.resolve(spec, given, partial(sample, listing.examples))
    return FoundData(listing, spec, modality)


def check_taken(listing: DatasetListing, spec: BackboneSpec, options: DataOptions, image_size: int | None) -> None:
    """Refuse data that a backbone does not take, and options that say nothing about them."""
    found, plural = listing.modality.name, listing.modality.plural
    for given in (options, ModelOptions(image_size=image_size)):
        check_applicable(given, "modality", found, f"{listing.name} holds {plural}")
    if spec.modality not in (None, found):
        known = [other.name for other in BACKBONES.values() if other.modality == found]
        backbones = " or ".join([*known[:3], *prefixes()]) or "this project has none"
        takes = get_modality(spec.modality).plural
        raise UserError(
            f"{spec.name} takes {takes}, and {listing.name} holds {plural}. Give {takes}, or a backbone that takes "
            f"{plural}: {backbones}."
        )


def decode_data(found: FoundData, options: DataOptions, seed: int) -> PreparedData:
    """Do the second half of `prepare_data`."""
    listing, modality = found.listing, found.modality
    decoded = decode_all(listing.examples, modality, options.max_unreadable, options.memory_gb, options.disk_gb)
    fractions = options.validation_split, options.test_split
    digests = content_digests(decoded.inputs)
    thumbnails = _thumbnails(decoded.inputs, modality)
    near = without_crowds(near_duplicates(thumbnails, digests), len(digests))
    copies = link(len(digests), near, digests).tolist()
    splits = split_examples(decoded.examples, listing.task, fractions, seed, listing.modality, copies)
    used = splits
    if shots := options.shots:
        drawn = draw_per_class(splits["train"], decoded.examples, listing.classes, lambda _: shots, seed)
        used = splits | {"train": drawn}
    counts = ", ".join(f"{name} {len(indices):,}" for name, indices in used.items())
    kind = "regression" if listing.task == "regression" else f"{len(listing.classes)} classes"
    log.info("Data: %s, %s %s, %s (%s).", listing.name, f"{len(decoded.examples):,}", modality.plural, kind, counts)
    if listing.classes:
        log.info("Classes: %s%s.", ", ".join(listing.classes[:SHOWN]), ", ..." * (len(listing.classes) > SHOWN))
    exact = find_copies(decoded.examples, digests, splits, listing.modality)
    for finding in exact:
        log.info("Note: %s", finding.text)
    similar = set(near.flat)
    keys = [copies[row] if row in similar else f"{row} alone" for row in range(len(digests))]
    others = find_copies(decoded.examples, keys, splits, listing.modality, "nearly") if similar else []
    others += find_problems(decoded.examples, decoded.unreadable, splits, listing.classes, thumbnails, listing.modality)
    if others:
        more = ""
        # [part: check-data]
        from tlkeras.data.sources import was_in_memory

        if not was_in_memory(listing.name):
            more = f" python scripts/check_data.py {listing.name} shows more."
        # [/part]
        log.info("Data check: %s.%s", summary(others), more)
    return PreparedData(
        listing.task,
        listing.classes,
        modality,
        decoded.inputs,
        decoded.examples,
        used,
        decoded.unreadable,
        digests,
        listing.name,
        [*exact, *others],
    )


def _thumbnails(inputs: Rows, modality: Modality) -> np.ndarray:
    """Return thumbnails of decoded images, uint8 `(N, SIDE, SIDE)`; none, and a note, where there are very many."""
    if len(inputs) > MAX_THUMBNAILS:
        log.info("Note: more than %s %s are searched for equal ones only, not for near duplicates or blank ones.",
                 f"{MAX_THUMBNAILS:,}", modality.plural)  # fmt: skip
        return np.empty((0, SIDE, SIDE), np.uint8)
    return inputs.thumbnails if isinstance(inputs, StreamedRows) else modality.thumbnails(inputs, SIDE)
