"""Evaluate a run's model on examples: those of its own split, or others."""

import csv
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.data.example import DatasetListing, Example
from tlkeras.data.loading import decode_all
from tlkeras.data.quality import content_digests
from tlkeras.data.sources import find_examples, source_package, was_in_memory
from tlkeras.data.splits import load_split
from tlkeras.data.streaming import Rows
from tlkeras.errors import UserError
from tlkeras.progress import passing
from tlkeras.run.load_run import Run, load_model, load_trained_run
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    import keras

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class EvaluatedSplit:
    """What a model gave for the examples of one split."""

    examples: list[Example]
    inputs: Rows  # decoded
    targets: np.ndarray  # (N, K)
    outputs: np.ndarray  # (N, K)
    metrics: dict[str, Any]


def evaluate(
    run_path: str | Path, data: Any = None, batch_size: int = 32, data_dir: str | None = None
) -> dict[str, dict[str, Any]]:
    """Return the metrics of a run's model, every example once.

    Args:
        run_path: folder that `scripts/train.py` wrote.
        data: as for training, of any kind, with the run's classes; the run's own data when None, of which only the
            test split is evaluated (the validation split where there is no test split).
        batch_size: examples per step.
        data_dir: where TensorFlow Datasets keeps its datasets; where it was in training when None.

    Returns:
        For each split that is evaluated the metrics of `compute_metrics`, with those of each class. Where the run has a
        threshold below which predictions are unsure, "accepted" has the "coverage" and the "accuracy" of the others.
        Data without splits is one split, "all".

    Raises:
        UserError: the run or the data cannot be used, or the classes differ.

    Example:
        >>> tlkeras.evaluate("saved_models/photos")["test"]["accuracy"]
    """
    _, _, splits = evaluate_run(run_path, data, batch_size, data_dir)
    return {name: split.metrics for name, split in splits.items()}


def evaluate_run(
    run_path: str | Path, data: Any = None, batch_size: int = 32, data_dir: str | None = None
) -> "tuple[Run, keras.Model, dict[str, EvaluatedSplit]]":
    """Return a run, its model, and what it gave for each split; the arguments are those of `evaluate`."""
    if batch_size < 1:
        raise UserError(f"--batch-size was {batch_size}; it must be a whole number of at least 1.")
    run = load_trained_run(run_path)
    given = training_data(run) if data is None else data
    folder = data_dir or run.config.get("data_dir")
    listing = find_examples(given, run.task, training=False, data_dir=folder, modality=type(run.modality))
    check_listing(run, listing)
    splits = evaluation_splits(run, listing.examples, own=data is None)
    limit = run.config["max_unreadable"]
    decoded = {name: decode_all(examples, run.modality, limit) for name, examples in splits.items()}
    if data is not None and (note := training_note(run, [part.inputs for part in decoded.values()])):
        log.warning("Note: %s", note)
    load_tensorflow()
    from tlkeras.data.pipeline import make_targets
    from tlkeras.evaluation.metrics import compute_metrics
    from tlkeras.evaluation.thresholds import accepted_metrics

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    evaluated = {}
    for name, part in decoded.items():
        targets = make_targets(part.examples, run.task, run.classes)
        with passing(f"Evaluating {len(part.inputs):,} {run.modality.plural}"):
            outputs = predict_inputs(model, part.inputs, batch_size)
        metrics = compute_metrics(outputs, targets, run.task, run.classes)
        if run.reject_threshold is not None:
            metrics["accepted"] = accepted_metrics(outputs, targets, run.reject_threshold)
        evaluated[name] = EvaluatedSplit(part.examples, part.inputs, targets, outputs, metrics)
    return run, model, evaluated


def training_data(run: Run) -> str:
    """Return the data that a run was trained on; refuse where it is no longer where it was."""
    data = run.config["data"]
    if was_in_memory(data):
        raise UserError(
            f"{run.path} was trained on data in memory ({data}). Give data to evaluate it on: in Python data=..., such "
            "as the same, or a folder with --data."
        )
    if data != "digits" and not source_package(data) and not Path(data).expanduser().exists():
        where = "" if Path(data).is_absolute() else f" in {Path.cwd()}"
        raise UserError(
            f"{run.path} was trained on {data}, and there is no such folder or file{where}. "
            f"Run the command where the training ran, or give the {run.modality.plural} with --data."
        )
    return data


def check_listing(run: Run, listing: DatasetListing) -> None:
    """Refuse what the model does not take, and classes that it does not know."""
    if listing.modality is not type(run.modality):
        raise UserError(
            f"The model of {run.path} takes {run.modality.plural}, and {listing.name} holds {listing.modality.plural}."
        )
    if missing := [name for name in listing.classes if name not in run.classes]:
        raise UserError(
            f"{listing.name} has classes that the model of {run.path} does not know: {', '.join(missing[:5])}. "
            f"It knows {', '.join(run.classes[:20])}{' and others' if run.classes[20:] else ''}."
        )


def evaluation_splits(run: Run, examples: Sequence[Example], own: bool) -> dict[str, list[Example]]:
    """Return the run's own test, else validation, examples; of others each split of their source, or "all"."""
    if own:
        rows = load_split(run.path / "split.csv", examples)
        name = "test" if "test" in rows else "validation"
        return {name: [examples[index] for index in rows[name]]}
    splits: dict[str, list[Example]] = {}
    for example in examples:
        splits.setdefault(example.split or "all", []).append(example)
    return splits


def training_note(run: Run, inputs: Sequence[Rows]) -> str:
    """Return how many of these decoded examples the run was trained on, by their content; empty where it is none."""
    with (run.path / "split.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    trained = {row.get("digest") for row in rows if row["split"] == "train"}  # earlier versions wrote none
    digests = [digest for part in inputs for digest in content_digests(part)]
    known, plural = sum(digest in trained for digest in digests), run.modality.plural
    if not known:
        return ""
    held_out = "test" if any(row["split"] == "test" for row in rows) else "validation"
    own = f" Leave --data out to evaluate its {held_out} {plural} alone."
    alone = "" if was_in_memory(run.config["data"]) else own
    return f"the run was trained on {known} of these {len(digests)} {plural}, so the metrics are too optimistic.{alone}"


def predict_inputs(model: Any, inputs: Rows, batch_size: int) -> np.ndarray:
    """Return outputs `(N, K)` of a model for decoded examples; only one batch of images is in memory as floats."""
    if len(inputs) == 0:
        return np.zeros((0, model.output_shape[-1]), "float32")
    starts = range(0, len(inputs), batch_size)
    return np.concatenate([model.predict_on_batch(inputs[start : start + batch_size]) for start in starts])
