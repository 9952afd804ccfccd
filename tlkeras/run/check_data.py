"""The work of `scripts/check_data.py`: data in, findings out."""

import csv
import dataclasses
import textwrap
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.train import TrainConfig
from tlkeras.data.duplicates import CROPS, confirmed, link, near_duplicates, without_crowds
from tlkeras.data.example import DatasetListing, Example, content_of
from tlkeras.data.file_check import Look, find_file_problems, look_at_all
from tlkeras.data.loading import decode_all, sample
from tlkeras.data.quality import Finding, find_class_problems, find_copies, find_split_groups, find_unreadable
from tlkeras.data.sources import find_examples
from tlkeras.errors import UserError
from tlkeras.io.atomic import open_atomic
from tlkeras.modalities.image import read_rgb
from tlkeras.run.artifacts import write_json
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    import keras

ALIKE = 0.99  # cosine of features from which two images are compared by their pixels
BLOCK = 512  # images that are compared with all at a time
MAX_SHOWN = 24  # images of a contact sheet
TILE, COLUMNS, MARGIN = 160, 6, 56  # pixels, images in a row, pixels for a name and what was found
LETTERS, LINES = 25, 3  # of a line below an image, and lines besides the name


@dataclass
class Checked:
    """What a check found."""

    listing: DatasetListing
    findings: list[Finding]
    surplus: list[Example]  # files that can go: unreadable ones, and all but one of equal files with one label
    details: dict[tuple[str, str], str] = field(default_factory=dict)  # by kind and path
    skipped: str = ""  # why label errors were not looked for


def check_data(data: str, labels: bool, backbone: str, weights: str) -> Checked:
    """Look at all files and, unless `labels` is False, for probable label errors by the features of a backbone."""
    if labels:
        spec = get_backbone_spec(backbone)
        if (chosen := spec.resolve_weights(weights)) != "imagenet":  # which may be missing without anyone's mistake
            spec.check_weights(chosen, spec.default_size)
    listing = find_examples(data, training=False)
    looks = look_at_all(listing.examples)
    unreadable = [(one, look.reason) for one, look in zip(listing.examples, looks, strict=True) if look.reason]
    examples = [example for example, look in zip(listing.examples, looks, strict=True) if not look.reason]
    looks = [look for look in looks if not look.reason]
    if not looks:
        raise UserError(f"None of the {len(unreadable):,} images of {data} can be read. Give other images.")
    thumbnails = np.stack([look.thumbnail for look in looks if look.thumbnail is not None])
    digests = [look.digest for look in looks]
    near = near_duplicates(thumbnails, digests)
    checked = Checked(listing, [], [example for example, _ in unreadable if not is_link(example)])
    errors: list[Finding] = []
    if labels:
        checked.skipped = why_not(listing, examples)
        try:
            if not checked.skipped:
                features = compute_features(listing, examples, backbone, weights)
                near = np.concatenate([near, confirmed(thumbnails, digests, alike(features))])
                near = without_crowds(near, len(looks))
                groups = link(len(looks), near, digests, [example.group for example in examples])
                checked.skipped = too_few_groups(listing, examples, groups)
                if not checked.skipped:
                    errors = find_label_errors(listing, examples, features, groups, checked.details)
        except UserError as error:  # such as weights that cannot be downloaded here
            checked.skipped = str(error)
    splits = {split: [row for row, one in enumerate(examples) if one.split == split]
              for split in sorted({str(one.split) for one in examples if one.split})}  # fmt: skip
    near = without_crowds(near, len(looks))
    copies, similar = link(len(looks), near, digests).tolist(), set(near.flat)
    keys = [copies[row] if row in similar else f"{row} alone" for row in range(len(digests))]
    modality = listing.modality
    checked.findings += find_unreadable(unreadable, modality)
    for equal, nearly in ((digests, ""), (keys, "nearly")) if similar else ((digests, ""),):
        found = find_copies(examples, equal, splits, modality, nearly)
        checked.findings += found
        checked.details |= same_as(examples, equal, found)
    checked.findings += find_split_groups(examples, splits)
    checked.findings += find_class_problems(examples, listing.classes, modality) + errors
    checked.findings += find_file_problems(examples, looks, modality)
    checked.findings.sort(key=lambda finding: finding.severity != "serious")
    checked.surplus += surplus_copies(examples, looks)
    checked.details |= {("unreadable", example.name): reason for example, reason in unreadable}
    return checked


def same_as(
    examples: Sequence[Example], keys: Sequence[Hashable], found: Sequence[Finding]
) -> dict[tuple[str, str], str]:
    """Return for each copy in findings, by kind and path, the first of those with its key."""
    key_of = {example.name: key for example, key in zip(examples, keys, strict=True)}
    first: dict[Hashable, str] = {}
    for example, key in zip(examples, keys, strict=True):
        first.setdefault(key, example.name)
    return {
        (finding.kind, path): f"copy of {first[key_of[path]]}"
        for finding in found for path in finding.paths if first[key_of[path]] != path
    }  # fmt: skip


def surplus_copies(examples: Sequence[Example], looks: Sequence[Look]) -> list[Example]:
    """Return all but one of equal files with one label; a test or validation image is kept rather than another."""
    groups: dict[str, list[Example]] = {}
    for example, look in zip(examples, looks, strict=True):
        if is_link(example):
            continue  # it would be left behind, or left without its file
        groups.setdefault(look.digest, []).append(example)
    order = ["test", "validation", "train", None]
    return [
        example
        for group in groups.values() if len({example.label for example in group}) == 1
        for example in sorted(group, key=lambda one: order.index(one.split))[1:]
    ]  # fmt: skip


def is_link(example: Example) -> bool:
    """Return whether an example is a link to its file, which stays where it is."""
    return example.path is not None and example.path.is_symlink()


def why_not(listing: DatasetListing, examples: Sequence[Example]) -> str:
    """Return why label errors cannot be looked for; empty where they can."""
    from tlkeras.evaluation.cross_validation import FOLDS

    if listing.task != "single_label" or len(listing.classes) < 2:
        return "They need one class per image, and two classes or more."
    labels = [example.label for example in examples]
    few = [name for name in listing.classes if labels.count(name) < FOLDS]
    return f"Each class needs {FOLDS} images; {few[0]} has fewer." if few else ""


def too_few_groups(listing: DatasetListing, examples: Sequence[Example], groups: np.ndarray) -> str:
    """Return why label errors cannot be looked for where copies and groups stay together; empty where they can."""
    from tlkeras.evaluation.cross_validation import FOLDS

    labels = np.array([str(example.label) for example in examples])
    few = [name for name in listing.classes if len(set(groups[labels == name])) < FOLDS]
    return f"Each class needs {FOLDS} different images or groups; {few[0]} has fewer." if few else ""


def compute_features(listing: DatasetListing, examples: list[Example], backbone: str, weights: str) -> np.ndarray:
    """Return pooled features `(N, C)` of images by a pretrained backbone; a later check reads them from the cache."""
    spec = get_backbone_spec(backbone)
    options = TrainConfig(backbone=backbone, weights=spec.resolve_weights(weights))
    spec.check(options.weights, None)
    modality = listing.modality.resolve(spec, dataclasses.asdict(options), partial(sample, examples))
    decoded = decode_all(examples, modality, 1.0)
    load_tensorflow(0)
    from tlkeras.data.pipeline import SplitData
    from tlkeras.features.engines import choose_engine, make_engine
    from tlkeras.features.extract import ExtractionJob
    from tlkeras.features.split_model import split_model
    from tlkeras.models.builders import build_classifier

    count = len(listing.classes)
    model = build_classifier(spec, count, weights=options.weights, image_size=modality.options().get("image_size"))
    options = choose_engine(model, options, len(examples))
    below: keras.Model = split_model(model, 0).below
    rows = np.arange(len(decoded.examples))
    job = ExtractionJob(SplitData(decoded.inputs, rows, np.zeros((len(rows), count), np.float32)), options, False)
    arrays: Any = None
    # [part: feature-cache]
    from tlkeras.features.cache import open_cache

    kept = open_cache(below, f"{spec.name}, pooled", options, 4 * int(np.prod(job.shapes(below)[0])))
    arrays = kept and kept.read_or_fill(job, lambda: make_engine(below, options.engine), True)
    # [/part]
    if arrays is None:
        arrays = [np.empty(shape, np.float32) for shape in job.shapes(below)]
        job.fill(make_engine(below, options.engine), arrays)
    return np.asarray(arrays[0][:])


def alike(features: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Yield candidates for `confirmed`: pairs of images with nearly the same features `(N, C)`, with every crop."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    for start in range(0, len(unit), BLOCK):
        ones, others = np.nonzero(np.triu(unit[start : start + BLOCK] @ unit[start:].T > ALIKE, 1))
        for one, other in zip((ones + start).tolist(), (others + start).tolist(), strict=True):
            yield from ((*pair, crop) for pair in ((one, other), (other, one)) for crop in range(len(CROPS)))


def find_label_errors(
    listing: DatasetListing, examples: Sequence[Example], features: np.ndarray, groups: np.ndarray,
    details: dict[tuple[str, str], str],
) -> list[Finding]:  # fmt: skip
    """Return a finding on probable label errors, the most probable first; say in `details` what each looks like."""
    from tlkeras.evaluation.cross_validation import out_of_fold_probabilities
    from tlkeras.evaluation.label_errors import label_errors

    labels = np.array([listing.classes.index(str(example.label)) for example in examples])
    probabilities = out_of_fold_probabilities(features, labels, groups)
    names = []
    for row, likely in zip(*label_errors(probabilities, labels), strict=True):
        details["label_errors", examples[row].name] = (
            f"labeled {listing.classes[labels[row]]} (p = {probabilities[row, labels[row]]:.3f}), "
            f"looks like {listing.classes[likely]} (p = {probabilities[row, likely]:.3f})"
        )
        names.append(examples[row].name)
    if not names:
        return []
    count, have = listing.modality.count_noun(len(names)), "has" if len(names) == 1 else "have"
    text = f"{count} probably {have} a wrong label, the most probable first: {names[0]}."
    return [Finding("label_errors", "note", names, text)]


def write_findings(checked: Checked, folder: Path) -> None:
    """Write findings.json, findings.csv, and a contact sheet of each kind that has images."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "findings.json", [dataclasses.asdict(finding) for finding in checked.findings])
    write_csv(checked, folder / "findings.csv")
    by_name = {example.name: example for example in checked.listing.examples}
    for finding in checked.findings:
        shown = [by_name[path] for path in finding.paths[:MAX_SHOWN]]
        if shown and finding.kind != "unreadable":
            details = [checked.details.get((finding.kind, example.name), "") for example in shown]
            contact_sheet(shown, details).save(folder / f"{finding.kind}.png")


def write_csv(checked: Checked, path: Path) -> None:
    """Write a line for each file of each finding, in the order of the findings."""
    with open_atomic(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("kind", "severity", "path", "detail"))
        for finding in checked.findings:
            for name in finding.paths or [""]:
                detail = checked.details.get((finding.kind, name), "" if name else finding.text)
                writer.writerow((finding.kind, finding.severity, name, detail))


def contact_sheet(examples: Sequence[Example], details: Sequence[str]) -> Image.Image:
    """Return images side by side, each above its name and what was found, as far as there is room."""
    rows = -(-len(examples) // COLUMNS)
    sheet = Image.new("RGB", (COLUMNS * TILE, rows * (TILE + MARGIN)), "white")
    draw = ImageDraw.Draw(sheet)
    for number, (example, detail) in enumerate(zip(examples, details, strict=True)):
        left, top = number % COLUMNS * TILE, number // COLUMNS * (TILE + MARGIN)
        content = content_of(example)
        image = Image.fromarray(content) if isinstance(content, np.ndarray) else read_rgb(content)
        image.thumbnail((TILE - 4, TILE - 4))
        sheet.paste(image, (left, top))
        name = example.name if len(example.name) <= LETTERS else f"…{example.name[1 - LETTERS :]}"
        lines = [name, *textwrap.wrap(detail, LETTERS)[:LINES]]
        draw.text((left, top + TILE - 2), "\n".join(lines), "black")
    return sheet
