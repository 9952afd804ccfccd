"""Compare what a log holds with the validation examples of its run."""

import itertools
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.errors import UserError
from tlkeras.evaluation.drift import labels_test, mmd_test, psi, psi_terms, psi_test
from tlkeras.evaluation.known import FILE as KNOWN
from tlkeras.evaluation.reference import FILE, MAX_ROWS, Counts, Reference, load_reference
from tlkeras.io.hashing import file_hash
from tlkeras.run.load_run import Run, load_run
from tlkeras.run.usage_log import read_usage

ALPHA = 0.05  # how often both tests together may say "moved" where nothing has
MIN_IMAGES = 20  # in the log; of fewer, chance is as large as most shifts


def drift(run_path: str | Path, log_path: str | Path, since: date | None = None) -> dict[str, Any]:
    """Return whether the data in a log have moved away from the run's validation examples, and in what way.

    Args:
        run_path: folder that `scripts/train.py` wrote.
        log_path: file that `predict.py --log` wrote.
        since: the first day that counts, in UTC; all days where None.

    Returns:
        "moved" (None where there are too few examples to tell), the p-value of each test, and the counts.

    Raises:
        UserError: the run has no reference, or the file is not its log.

    Example:
        >>> drift("saved_models/photos", "usage.npz", date(2026, 11, 1))["moved"]
    """
    run = load_run(run_path)
    reference = load_reference(run.path)
    usage = read_usage(Path(log_path), file_hash(run.path / FILE), reference)
    if since is not None and not len(usage.since(since).days):
        raise UserError(
            f"{log_path} holds nothing since {since}; its last day is {usage.days[-1]}. Give an earlier day."
        )
    usage = usage.since(since) if since else usage
    counts = usage.total()
    result: dict[str, Any] = {
        "run": str(run.path), "log": str(log_path), "task": run.task, "unit": run.modality.plural,
        "first_day": str(usage.days[0]), "last_day": str(usage.days[-1]), "images": int(counts.images),
        "reference_images": int(reference.images), "min_images": MIN_IMAGES, "moved": None, "alpha": ALPHA,
        "tests": {},
        "outputs": describe_outputs(run, reference, counts), "psi": psi(cells(run, reference), cells(run, counts)),
        "unsure": None,
        "confidence": None if run.task == "regression" else describe_confidence(reference, counts),
    }  # fmt: skip
    if run.reject_threshold is not None or (run.path / KNOWN).exists():
        result["unsure"] = pair(reference.unsure / reference.images, counts.unsure / counts.images)
    if counts.images >= MIN_IMAGES:
        rng, rows = np.random.default_rng(0), usage.sample(MAX_ROWS)
        mmd, p_features = mmd_test(reference.rows, rows, rng)
        result["tests"] = {
            "features": {"p_value": p_features, "count": len(rows), "mmd": mmd},
            "outputs": {"p_value": output_p_value(run, reference, counts, rng), "count": int(counts.images)},
        }
        for test in result["tests"].values():
            test["moved"] = test["p_value"] <= ALPHA / 2  # of two tests, by Bonferroni
        result["moved"] = any(test["moved"] for test in result["tests"].values())
    return result


def cells(run: Run, counts: Reference | Counts) -> np.ndarray:
    """Return counts of what was predicted: of classes or levels `(K,)`, of labels with and without `(K, 2)`."""
    if run.task == "multi_label":
        return np.stack([counts.classes, counts.images - counts.classes], axis=-1)
    return counts.levels if run.task == "regression" else counts.classes


def output_p_value(run: Run, reference: Reference, counts: Counts, rng: np.random.Generator) -> float:
    """Return the p-value that the model predicts what it predicted for the validation examples."""
    both = cells(run, reference), cells(run, counts)
    return labels_test(*both) if run.task == "multi_label" else psi_test(*both, rng)


def describe_outputs(run: Run, reference: Reference, counts: Counts) -> list[dict[str, Any]]:
    """Return for each class, or each level of numbers, its fraction in validation and log and its part of the index."""
    old, new = cells(run, reference), cells(run, counts)
    terms, names = psi_terms(old, new), run.classes or level_names(reference.edges)
    if run.task == "multi_label":
        old, new, terms = old[:, 0], new[:, 0], terms.sum(axis=1)
    columns = zip(names, old / reference.images, new / counts.images, terms, strict=True)
    return [{"label": name} | pair(a, b) | {"psi": float(term)} for name, a, b, term in columns]


def describe_confidence(reference: Reference, counts: Counts) -> dict[str, Any]:
    """Return how many are less confident than the lowest tenth of validation, and the index over all levels."""
    low = pair(reference.levels[0] / reference.images, counts.levels[0] / counts.images)
    return {"below": float(reference.edges[0])} | low | {"psi": psi(reference.levels, counts.levels)}


def level_names(edges: np.ndarray) -> list[str]:
    """Return how the levels between edges are called."""
    shown = [f"{edge:.4g}" for edge in edges]
    inner = [f"{low} to {high}" for low, high in itertools.pairwise(shown)]
    return [f"below {shown[0]}", *inner, f"{shown[-1]} or more"]


def pair(validation: np.ndarray, log: np.ndarray) -> dict[str, float]:
    """Return a fraction of the validation examples, and that of the log."""
    return {"validation": float(validation), "log": float(log)}
