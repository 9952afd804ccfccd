"""Split examples into train, validation and test: seeded, stratified, and saved so that a run can be repeated."""

import csv
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import get_args

import numpy as np

from tlkeras.config.fields import Task
from tlkeras.data.duplicates import link
from tlkeras.data.example import SPLIT_WORDS, Example, Label, Split, class_names, plain_text
from tlkeras.errors import UserError
from tlkeras.io.atomic import open_atomic
from tlkeras.modalities.base import Modality
from tlkeras.modalities.image import ImageModality

NO_LABEL = "(no label)"
REGRESSION_BINS = 10


def split_examples(
    examples: Sequence[Example],
    task: Task,
    fractions: tuple[float, float],
    seed: int,
    modality: type[Modality] = ImageModality,
    copies: Sequence[Hashable] = (),
) -> dict[str, np.ndarray]:
    """Assign every example to a split; the same examples in the same order and the same seed give the same splits.

    Splits that the source has are kept. If it has none, train, validation and test are made, by the fractions for the
    last two; if it has some, only a missing validation split is made, from its training examples. All are stratified by
    class or by up to ten bins of the number. Each is an ascending int64 array of indices into `examples`. Examples of
    one group stay together, and so do those with an equal value in `copies`, unless that leaves too few.
    """
    validation, test = fractions
    if min(fractions) < 0 or sum(fractions) >= 1:
        raise UserError(
            f"The fractions for validation and test are {validation} and {test}. Give fractions from 0 on that leave "
            "some for training, such as 0.15 and 0.15."
        )
    own = np.array([example.split or "" for example in examples])
    splits = {split: np.flatnonzero(own == split) for split in get_args(Split) if (own == split).any()}
    if "validation" in splits:
        return splits
    test = 0.0 if splits else test
    parts: dict[Split, float] = {"train": 1 - (validation + test), "validation": validation, "test": test}
    parts = {split: part for split, part in parts.items() if part > 0}
    pool = splits.get("train", np.arange(len(examples)))
    label_sets = _label_sets([examples[index].label for index in pool.tolist()], task)
    groups = link(len(pool), np.empty((0, 2)), [examples[index].group for index in pool.tolist()])
    together = link(
        len(pool), np.empty((0, 2)), groups.tolist(), [copies[index] for index in pool.tolist()] if copies else []
    )
    fractions_left = np.array(list(parts.values()))
    choice, counts = _stratify(_by_group(label_sets, together), fractions_left, np.random.default_rng(seed))
    if _lacking(counts, task) and together.max() < groups.max():
        together = groups
        choice, counts = _stratify(_by_group(label_sets, groups), fractions_left, np.random.default_rng(seed))
    _check(counts, list(parts), task, modality, bool(groups.max() < len(pool) - 1))
    splits |= {split: pool[choice[together] == index] for index, split in enumerate(parts)}
    return {split: splits[split] for split in get_args(Split) if split in splits}


def draw_per_class(
    rows: np.ndarray, examples: Sequence[Example], classes: Sequence[str], count: Callable[[int], int], seed: int
) -> np.ndarray:
    """Draw some of the examples at indices `(n,)`, of each class as many as `count` says for those that it has.

    What a smaller count draws with one seed is part of what a larger one draws. The indices `(m,)` are ascending.
    """
    labels = np.array([examples[row].label for row in rows.tolist()])
    chosen = []
    for index, name in enumerate(classes):
        of_class = np.random.default_rng([seed, index]).permutation(rows[labels == name])
        chosen.append(of_class[: count(len(of_class))])
    return np.sort(np.concatenate(chosen))


def _label_sets(labels: list[Label], task: Task) -> list[tuple[str, ...]]:
    """Return the classes of each example; for numbers, the one of the equally large bins it falls into."""
    if task != "regression":
        return [class_names(label) or (NO_LABEL,) for label in labels]
    ranks = np.argsort(np.argsort(np.array(labels, dtype="float64"), kind="stable"))
    bins = np.clip(len(labels) // 20, 1, REGRESSION_BINS)
    return [(f"bin {number}",) for number in ranks * bins // len(labels)]


def _by_group(label_sets: list[tuple[str, ...]], groups: np.ndarray) -> list[tuple[int, Counter[str]]]:
    """Return for each group how many examples it has, and how many of them have each class."""
    alone = {labels: (1, Counter(labels)) for labels in set(label_sets)}
    count = int(groups.max()) + 1
    if count == len(groups):  # each example is a group; a million of them are no million counters
        return [alone[label_sets[index]] for index in np.argsort(groups).tolist()]
    found = [(0, Counter[str]()) for _ in range(count)]
    for group, labels in zip(groups.tolist(), label_sets, strict=True):
        size, counts = found[group]
        counts.update(labels)
        found[group] = size + 1, counts
    return found


def _stratify(
    groups: list[tuple[int, Counter[str]]], parts: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the index of a split for each group, and how many examples of each class each split has.

    Each class is spread over the splits in these fractions.

    Iterative stratification (Sechidis et al. 2011): the rarest class first, and of it the largest group; each goes to
    the split that has none of the class yet, if there is room for it, else to the one that is furthest from its
    fraction of the class, and among equals from its fraction of everything. With one class per example and no groups
    this is ordinary stratification.
    """
    members = defaultdict(list)
    for index in rng.permutation(len(groups)):
        for label in groups[index][1]:
            members[label].append(index)
    totals = {label: sum(groups[index][1][label] for index in indices) for label, indices in members.items()}
    have = {label: [0] * len(parts) for label in members}
    fractions, choice = parts.tolist(), np.full(len(groups), -1)  # plain numbers, as NumPy is slow with so few at once
    total_missing = [part * sum(size for size, _ in groups) for part in fractions]
    for label in sorted(members, key=lambda label: (totals[label], label)):
        left = [index for index in members[label] if choice[index] < 0]
        left.sort(key=lambda index: -groups[index][1][label])
        for number, index in enumerate(left):
            size, counts = groups[index]
            needed = len(left) - number <= have[label].count(0)  # what is left is for the splits without one
            ranks = []
            for split, (part, count) in enumerate(zip(fractions, have[label], strict=True)):
                missing = part * totals[label] - count
                first = not count and (needed or counts[label] <= math.ceil(missing))
                ranks.append((math.inf if first else missing, total_missing[split], split))
            chosen = choice[index] = max(ranks)[-1]
            total_missing[chosen] -= size
            for other, count in counts.items():
                have[other][chosen] += count
    return choice, {label: np.array(counts) for label, counts in have.items()}


def _lacking(counts: dict[str, np.ndarray], task: Task) -> list[str]:
    """Return the classes that are not in every split."""
    free = {NO_LABEL} if task == "multi_label" else set()
    return sorted(label for label in counts.keys() - free if not counts[label].all())


def _check(
    counts: dict[str, np.ndarray], splits: list[Split], task: Task, modality: type[Modality], grouped: bool
) -> None:
    """Refuse a split that lacks a class."""
    lacking = _lacking(counts, task)
    totals = {label: int(numbers.sum()) for label, numbers in counts.items()}
    if lacking and task == "regression":
        count = sum(totals.values())
        raise UserError(f"{count} {modality.plural} are too few to split into {', '.join(splits)}. Add some.")
    if lacking:
        named = ", ".join(f"{label} ({totals[label]})" for label in lacking[:5]) + (", ..." if lacking[5:] else "")
        numbers = all(label.lstrip("-").replace(".", "", 1).isdigit() for label in counts)
        hint = " If these numbers are quantities, give --task regression (in a CSV file)." if numbers else ""
        hint += " The column group keeps groups together: each class needs a group in each split." if grouped else ""
        raise UserError(
            f"Each class needs at least one {modality.singular} in each of {', '.join(splits)}, and these have too few "
            f"readable ones: {named}. Add {modality.plural} to them, or leave these classes out.{hint}"
        )


def save_split(
    path: Path, examples: Sequence[Example], indices: Mapping[str, np.ndarray], digests: Sequence[str]
) -> None:
    """Write which example is in which split, as CSV with the columns path, label, split and digest, of its content."""
    with open_atomic(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("path", "label", "split", "digest"))
        for split, chosen in indices.items():
            for index in chosen:
                example = examples[index]
                label = "|".join(example.label) if isinstance(example.label, tuple) else example.label
                writer.writerow((example.name, label, split, digests[index]))


def load_split(path: Path, examples: Sequence[Example]) -> dict[str, np.ndarray]:
    """Read a saved split back, for examples of the same source; those that the file does not name are in no split."""
    if not path.is_file():
        raise UserError(f"There is no {path}. Give the folder of a finished run; training writes the file there.")
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(plain_text(row["path"]), SPLIT_WORDS[row["split"]]) for row in csv.DictReader(file)]
    except (KeyError, ValueError, csv.Error):
        raise UserError(
            f"{path} is damaged: it must have the columns path and split (train, validation or test). Train again."
        ) from None
    positions = {plain_text(example.name): index for index, example in enumerate(examples)}
    if gone := [name for name, _ in rows if name not in positions]:
        raise UserError(
            f"{len(gone)} of the {len(rows)} examples in {path} are missing from the data, the first is {gone[0]}. "
            "Give the same data that the run was trained with."
        )
    chosen: dict[str, list[int]] = {}
    for name, split in rows:
        chosen.setdefault(split, []).append(positions[name])
    return {split: np.array(sorted(found), dtype=np.int64) for split, found in chosen.items()}
