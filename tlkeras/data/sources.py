"""Find examples: folder, CSV file, TensorFlow Datasets name or the built-in digits -> a `DatasetListing`.

To add a kind of source, write a module beside `folder.py` that returns a `DatasetListing`, and give it a line in
`find_examples`.
"""

import importlib
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import get_args

from tlkeras.config.fields import Task
from tlkeras.data import csv_file, digits, folder
from tlkeras.data.example import DatasetListing, Split
from tlkeras.errors import UserError
from tlkeras.modalities.base import Modality
from tlkeras.modalities.image import ImageModality

TFDS = "tfds:"
TFDS_PACKAGE = "tlkeras.data.tfds"


def find_examples(
    data: str,
    task: str = "auto",
    training: bool = True,
    data_dir: str | None = None,
    modality: type[Modality] | None = ImageModality,
) -> DatasetListing:
    """List the examples of a dataset with their labels; open none of them.

    Args:
        data: a folder with one subfolder per class, or with `train`, `validation`, `test` folders of such subfolders;
            a `.csv` file with the columns `path`, `label` and optionally `split`; `tfds:NAME` or `tfds:FOLDER` for a
            dataset of TensorFlow Datasets, with parts such as `train[:80%]` behind another colon if wanted; or
            `digits`, a built-in dataset of small images.
        task: `single_label`, `multi_label`, `regression`, or `auto` to let the source decide.
        training: refuse also what can be evaluated but not trained on, such as images of one class only.
        data_dir: where TensorFlow Datasets keeps its datasets, if not where it usually does.
        modality: what is wanted; None where that is not known. What is found may be another one.

    Raises:
        UserError: `data` cannot be used, or not for this task. The message says why and what to do.
    """
    if task not in ("auto", *get_args(Task)):
        raise UserError(f"The task is {task!r}. Give auto, {', '.join(get_args(Task))}.")
    if data == "digits":
        listing = folder.find(digits.digits_folder(), name="digits")
    elif data.startswith(TFDS):
        listing = tfds(data).find(data.removeprefix(TFDS), data_dir)
    elif data.lower().endswith(".csv"):
        listing = csv_file.find(Path(data).expanduser(), task, modality)
    else:
        listing = folder.find(Path(data).expanduser(), data, modality)
    _check_task(listing, task)
    if training:
        _check_trainable(listing)
    return listing


def tfds(data: str) -> ModuleType:
    """Return the package that reads TensorFlow Datasets.

    Raises:
        UserError: it is not part of this project.
    """
    if importlib.util.find_spec(TFDS_PACKAGE) is None:
        raise UserError(
            f"--data was {data}, but this project does not read TensorFlow Datasets: it has no package {TFDS_PACKAGE}. "
            "Give a folder or a CSV file, or copy the package from the template."
        )
    return importlib.import_module(TFDS_PACKAGE)


def short_name(data: str) -> str:
    """Return what to call a run on this data: the name of a file or folder; for TFDS the dataset without its parts."""
    return tfds(data).short_name(data.removeprefix(TFDS)) if data.startswith(TFDS) else Path(data).stem


def _check_task(listing: DatasetListing, task: str) -> None:
    """Refuse labels of another kind than the task needs."""
    if task not in ("auto", listing.task):
        raise UserError(
            f"The task is {task}, but {listing.name} holds {listing.task} labels. Leave the task at auto, or list the "
            f"{listing.modality.plural} in a CSV file with the columns path and label."
        )


def _check_trainable(listing: DatasetListing) -> None:
    """Refuse what no model can be trained on, whatever kind of source it came from."""
    plural, singular = listing.modality.plural, listing.modality.singular
    splits = {example.split for example in listing.examples}
    if splits != {None} and "train" not in splits:
        raise UserError(f"{listing.name} has no training {plural}, only {' and '.join(sorted(map(str, splits)))}.")
    if listing.task == "regression":
        training = [example for example in listing.examples if example.split in (None, "train")]
        if len({example.label for example in training}) == 1:
            raise UserError(
                f"All training {plural} of {listing.name} have the label {training[0].label}: there is nothing to "
                f"predict. Give {plural} with other numbers too."
            )
        return
    if listing.task == "single_label" and len(listing.classes) == 1:
        raise UserError(
            f"{listing.name} has one class only, {listing.classes[0]!r}. A classifier needs two or more. If the "
            f"classes are the subfolders of {listing.classes[0]!r}, give that folder; else add a class of other {plural}."
        )
    if not listing.classes:
        raise UserError(
            f"No {singular} of {listing.name} has a label. Give at least one class name in the label column."
        )
    _check_classes_in_train(listing)


def _check_classes_in_train(listing: DatasetListing) -> None:
    """Refuse a class that is validated or tested but never trained: a mistake in the data."""
    classes: dict[Split | None, set[str]] = {}
    for example in listing.examples:
        names = example.label if isinstance(example.label, tuple) else (str(example.label),)
        classes.setdefault(example.split, set()).update(names)
    plural = listing.modality.plural
    for split in ("validation", "test"):
        if missing := sorted(classes.get(split, set()) - classes.get("train", set())):
            raise UserError(
                f"The {split} {plural} of {listing.name} have classes that the training {plural} lack: "
                f"{', '.join(missing[:5])}{', ...' if missing[5:] else ''}. Use the same class names in every split."
            )
