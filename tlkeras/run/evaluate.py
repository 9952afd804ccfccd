"""Judge a run's model on examples: those of its own split, or others."""

import csv
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.data.example import Example, DatasetListing
from tlkeras.data.loading import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.data.splits import load_split
from tlkeras.errors import UserError
from tlkeras.run.load_run import Run, load_run
from tlkeras.runtime import load_tensorflow

log = logging.getLogger("tlkeras")


def evaluate(
    run_path: str | Path, data: str | Path | None = None, batch_size: int = 32, data_dir: str | None = None
) -> dict[str, dict[str, Any]]:
    """Figures of a run's model, every picture once.

    Args:
        run_path: folder that `scripts/train.py` wrote.
        data: folder, CSV, TFDS name or digits with the run's classes; the run's own data when None, of which only
            the test pictures are judged (the validation pictures where there is no test split).
        batch_size: pictures in a step.
        data_dir: where TensorFlow Datasets keeps its data sets; where it was in training when None.

    Returns:
        For each split that is judged the figures of `tlkeras.evaluation.metrics.measure` and, not for
        regression, "classes": the figures of each class by its name. Data without splits is one split, "all".

    Raises:
        UserError: when the run or the data cannot be used, or the classes differ.
    """
    if batch_size < 1:
        raise UserError(f"--batch-size was {batch_size}; it must be a whole number of at least 1.")
    run = load_run(run_path)
    place = data_dir or run.config.get("data_dir")
    source = find_examples(data or training_data(run), run.task, training=False, data_dir=place, form=run.form.name)
    check_modality(run, source)
    check_classes(run, source)
    splits = own_splits(source.examples) if data else evaluation_split(run, source.examples)
    if data:
        warn_if_training_data(run, data, source.examples)
    decoded = {name: decode_all(examples, run.form, run.config["max_unreadable"]) for name, examples in splits.items()}
    load_tensorflow()
    from tlkeras.data.targets import make_targets
    from tlkeras.evaluation.metrics import compute_metrics, per_class_metrics
    from tlkeras.run.model_file import load_model

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    figures = {}
    for name, part in decoded.items():
        for example, reason in part.unreadable:
            log.warning("Set aside, unreadable: %s (%s)", example.name, reason)
        targets = make_targets(part.examples, run.task, run.classes)
        outputs = predict_inputs(model, part.inputs, batch_size)
        figures[name] = compute_metrics(outputs, targets, run.task)
        if run.task != "regression":
            figures[name]["classes"] = per_class_metrics(outputs, targets, run.task, run.classes)
    return figures


def training_data(run: Run) -> str:
    """The data that a run was trained on, if it is still where it was.

    Raises:
        UserError: it is not.
    """
    data = run.config["data"]
    if data != "digits" and not data.startswith("tfds:") and not Path(data).expanduser().exists():
        place = "" if Path(data).is_absolute() else f" in {Path.cwd()}"
        raise UserError(
            f"{run.path} was trained on {data}, and there is no such folder or file{place}. "
            f"Run the command where the training ran, or say with --data where the {run.form.name} are."
        )
    return data


def check_modality(run: Run, source: DatasetListing) -> None:
    """Refuse what the model does not take.

    Raises:
        UserError: with what it takes.
    """
    if source.form != run.form.name:
        raise UserError(f"The model of {run.path} takes {run.form.name}, and {source.name} holds {source.form}.")


def check_classes(run: Run, source: DatasetListing) -> None:
    """Refuse pictures of classes that the model does not know.

    Raises:
        UserError: there are such pictures.
    """
    unknown = [name for name in source.classes if name not in run.classes]
    if unknown:
        raise UserError(
            f"{source.name} has classes that the model of {run.path} does not know: {', '.join(unknown[:5])}. "
            f"It knows {', '.join(run.classes[:20])}{' and others' if run.classes[20:] else ''}."
        )


def own_splits(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Examples by the split that their source gives them; "all" where it gives none."""
    splits: dict[str, list[Example]] = {}
    for example in examples:
        splits.setdefault(example.split or "all", []).append(example)
    return splits


def evaluation_split(run: Run, examples: Sequence[Example]) -> dict[str, list[Example]]:
    """The run's test pictures, or its validation pictures where it has no test split."""
    splits = load_split(run.path / "split.csv", examples)
    name = "test" if "test" in splits else "validation"
    return {name: [examples[index] for index in splits[name]]}


def warn_if_training_data(run: Run, data: str, examples: Sequence[Example]) -> None:
    """Say so when pictures are judged that the run was trained on."""
    before = run.config["data"]
    of_tfds = data.startswith("tfds:") and before.startswith("tfds:")  # these names tell data set and version
    if not of_tfds and Path(data).expanduser().resolve() != Path(before).expanduser().resolve():
        return
    with (run.path / "split.csv").open(newline="", encoding="utf-8") as file:
        trained = {row["path"] for row in csv.DictReader(file) if row["split"] == "train"}
    if known := sum(example.name in trained for example in examples):
        log.warning(
            "Note: the run was trained on %d of these %d %s, so the figures are too good. Leave --data out to "
            "judge its test %s alone.", known, len(examples), run.form.name, run.form.name,
        )  # fmt: skip


def predict_inputs(model: Any, inputs: np.ndarray, batch_size: int) -> np.ndarray:
    """Outputs `(N, K)` of a model for decoded examples; only one batch of pictures is in memory as floats."""
    if len(inputs) == 0:
        return np.zeros((0, model.output_shape[-1]), "float32")
    starts = range(0, len(inputs), batch_size)
    return np.concatenate([model.predict(inputs[start : start + batch_size], verbose=0) for start in starts])
