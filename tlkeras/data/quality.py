"""Check decoded examples before anything is trained on them: copies by content, near duplicates, blank images, classes.

What is found is a `Finding`; a run keeps its own in `findings.json`.
"""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tlkeras.data.example import Example, class_names
from tlkeras.data.streaming import Rows, StreamedRows
from tlkeras.io.hashing import content_digest
from tlkeras.modalities.base import Modality

LEAK = "in more than one split, which makes the metrics too optimistic: keep one copy"
DOUBT = "under several labels: keep the right one"
COPY = "more than once, in one split: one copy is enough"
MIN_CLASS = 10  # examples of a class
MAX_IMBALANCE = 10  # times as many examples as the rarest class has
MIN_CONTRAST = 4.0  # standard deviation of gray values 0–255
SHOWN = 5  # classes and kinds that are named


@dataclass(frozen=True)
class Finding:
    """Something that may be wrong with the data."""

    kind: str  # such as "duplicates_in_splits"
    severity: Literal["serious", "note"]  # serious is what makes metrics wrong, or loses examples
    paths: list[str]  # names of the examples; copies of one side by side
    text: str  # a sentence


def content_digests(inputs: Rows) -> list[str]:
    """Return the `content_digest` of each decoded example."""
    if isinstance(inputs, StreamedRows):
        return inputs.digests
    return [content_digest(inputs[row]) for row in range(len(inputs))]


def find_copies(
    examples: Sequence[Example],
    keys: Sequence[Hashable],
    splits: Mapping[str, Iterable[int]],
    modality: type[Modality],
    nearly: str = "",
) -> list[Finding]:
    """Return a finding on examples with equal keys in several splits, on those with several labels, on the others.

    `nearly` is a word that says how equal they are, such as "nearly".
    """
    split_of = {index: name for name, rows in splits.items() for index in rows}
    groups: dict[Hashable, list[int]] = {}
    for index, key in enumerate(keys):
        groups.setdefault(key, []).append(index)
    copies = "near_duplicates" if nearly else "duplicates"
    kinds: dict[tuple[str, str], list[list[int]]] = {
        (f"{copies}_in_splits", LEAK): [], (f"{copies}_in_classes", DOUBT): [], (copies, COPY): []
    }  # fmt: skip
    leak, doubt, copy = kinds.values()
    for group in (group for group in groups.values() if len(group) > 1):
        leaks = len({split_of.get(index) for index in group}) > 1
        doubtful = len({examples[index].label for index in group}) > 1
        for into, found in ((leak, leaks), (doubt, doubtful), (copy, not leaks and not doubtful)):
            if found:
                into.append(group)
    findings = []
    for (kind, what), found in kinds.items():
        if found:
            names = " = ".join(examples[index].name for index in found[0][:2])
            verb = "appears" if len(found) == 1 else "appear"
            how = f"{nearly} the same " if nearly else ""
            text = f"{modality.count_noun(len(found))} {verb} {how}{what} ({names}{', ...' if found[1:] else ''})."
            paths = [examples[index].name for group in found for index in group]
            findings.append(Finding(kind, "note" if what == COPY else "serious", paths, text))
    return findings


def find_problems(
    examples: Sequence[Example],
    unreadable: Sequence[tuple[Example, str]],
    splits: Mapping[str, Iterable[int]],
    classes: Sequence[str],
    grays: np.ndarray,
    modality: type[Modality],
) -> list[Finding]:
    """Return what else a quick look finds, with gray thumbnails uint8 `(N, side, side)`, `(0, side, side)` for none."""
    return [
        *find_unreadable(unreadable, modality),
        *find_split_groups(examples, splits),
        *find_class_problems(examples, classes, modality),
        *find_blank(examples, grays, modality),
    ]


def find_split_groups(examples: Sequence[Example], splits: Mapping[str, Iterable[int]]) -> list[Finding]:
    """Return a finding on groups that the data's own splits tear apart."""
    found: dict[str, set[str]] = {}
    for split, rows in splits.items():
        for group in {examples[index].group for index in rows} - {None}:
            found.setdefault(str(group), set()).add(split)
    torn = sorted(group for group, names in found.items() if len(names) > 1)
    if not torn:
        return []
    text = (
        f"{len(torn)} of {len(found)} groups are in more than one split, such as {torn[0]}: leave the column split out."
    )
    return [Finding("groups_in_splits", "serious", [one.name for one in examples if one.group in torn], text)]


def find_class_problems(examples: Sequence[Example], classes: Sequence[str], modality: type[Modality]) -> list[Finding]:
    """Return findings on classes with few examples, and on classes with many times more than others."""
    counts = Counter(name for example in examples for name in class_names(example.label))
    findings, small = [], [name for name in classes if counts[name] < MIN_CLASS]
    if small:
        named = ", ".join(f"{name} ({counts[name]})" for name in small[:SHOWN]) + (", ..." if small[SHOWN:] else "")
        text = f"Classes with fewer than {MIN_CLASS} {modality.plural}: {named}. Add some, or leave them out."
        findings.append(Finding("small_classes", "serious", [], text))
    if classes and (most := max(classes, key=lambda name: counts[name])):
        rarest = min(classes, key=lambda name: counts[name])
        if counts[most] > MAX_IMBALANCE * counts[rarest]:
            text = (
                f"{most} has {counts[most]:,} {modality.plural} and {rarest} {counts[rarest]:,}: accuracy says little "
                f"of {rarest}, so look at its own metrics. --class-weights balanced lets both count the same."
            )
            findings.append(Finding("imbalance", "note", [], text))
    return findings


def find_unreadable(unreadable: Sequence[tuple[Example, str]], modality: type[Modality]) -> list[Finding]:
    """Return a finding on examples that cannot be decoded, each with the reason."""
    if not unreadable:
        return []
    first, reason = unreadable[0]
    text = f"{modality.count_noun(len(unreadable))} cannot be read, such as {first.name} ({reason})."
    return [Finding("unreadable", "serious", [example.name for example, _ in unreadable], text)]


def find_blank(examples: Sequence[Example], grays: np.ndarray, modality: type[Modality]) -> list[Finding]:
    """Return a finding on images of nearly one color, by their gray thumbnails."""
    blank = [examples[row].name for row, gray in enumerate(grays) if gray.std() < MIN_CONTRAST]
    are = "is" if len(blank) == 1 else "are"
    text = f"{modality.count_noun(len(blank))} {are} nearly of one color, such as {blank[0]}." if blank else ""
    return [Finding("blank", "note", blank, text)] if blank else []


def summary(findings: Sequence[Finding]) -> str:
    """Return in a few words how many findings there are, and of which kinds."""
    parts = []
    for severity, word in (("serious", "serious"), ("note", "minor")):
        kinds = [one.kind.replace("_", " ") for one in findings if one.severity == severity]
        if kinds:
            named = ", ".join(kinds[:SHOWN]) + (", ..." if kinds[SHOWN:] else "")
            parts.append(f"{len(kinds)} {word} ({named})")
    return "; ".join(parts) or "nothing found"
