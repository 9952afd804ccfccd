"""Find examples: folder, CSV file, the built-in digits, or data in memory -> a `DatasetListing`.

To add a kind of source, write a module beside `folder.py` that returns a `DatasetListing` (`data/example.py`), and call
it in `_find_by_name` (a path or name) or `find_examples` (what is in memory). A table, such as a Parquet file, needs
no module: read it with pandas and give it to `find_in_frame` of `csv_file.py`, with its path. For `--data NAME:…`
write a package `NAME` beside this file with `find(text, data_dir)`, `short_name(text)` and `public_name(text)`; the
text is what follows the colon.
"""

import importlib
import os
import pkgutil
import re
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from tlkeras.backbones.registry import unknown_prefix
from tlkeras.config.fields import Task, TaskOption
from tlkeras.data import folder
from tlkeras.data.example import DatasetListing, Split, class_names
from tlkeras.errors import UserError
from tlkeras.modalities.base import Modality
from tlkeras.modalities.image import ImageModality

IN_MEMORY = ("arrays", "tf.data", "PyDataset", "DataFrame")  # what `data` in the options of a run says of such data


def find_examples(
    data: Any,
    task: TaskOption = "auto",
    training: bool = True,
    data_dir: str | None = None,
    modality: type[Modality] | None = ImageModality,
) -> DatasetListing:
    """List the examples of a dataset with their labels; open none of them.

    The data are a folder of class folders, or of `train`, `validation`, `test` folders with them; a `.csv` file;
    `digits`, a built-in dataset; `PREFIX:NAME` for what a package PREFIX beside this module finds, which keeps its
    datasets in `data_dir`; a DataFrame with the columns `path` and `label`; or what `tlkeras.data.memory`
    takes. The modality is what is wanted, if that is known; another one may be found. For training, what can only be
    evaluated is refused too.
    """
    if task not in ("auto", *get_args(Task)):
        raise UserError(f"The task is {task!r}. Give auto, {', '.join(get_args(Task))}.")
    if isinstance(data, str | os.PathLike):
        listing = _find_by_name(os.fspath(data), task, data_dir, modality)
    elif is_frame(data):
        listing = _csv_part("a DataFrame").find_in_frame(data, task, modality)
    else:
        from tlkeras.data import memory

        listing = memory.find(data, task)
    if task not in ("auto", listing.task):
        raise UserError(
            f"The task is {task}, but {listing.name} holds {listing.task} labels. Leave the task at auto, or list the "
            f"{listing.modality.plural} in a CSV file with the columns path and label."
        )
    if training:
        _check_trainable(listing)
    listing.notes.extend(_alike(listing.classes))
    return listing


def _alike(classes: list[str]) -> list[str]:
    """Return a sentence on class names that are the same but for case, spaces, - and _."""
    groups: dict[str, list[str]] = {}
    for name in classes:
        groups.setdefault(re.sub(r"[\s_-]+", "", name.casefold()) or name, []).append(name)
    found = [" = ".join(names) for names in groups.values() if len(names) > 1]
    how = "Rename them if they are one class."
    return [f"Classes that differ in case or spaces alone: {'; '.join(found[:5])}. {how}"] if found else []


def _find_by_name(data: str, task: TaskOption, data_dir: str | None, modality: type[Modality] | None) -> DatasetListing:
    package = source_package(data)
    if data == "digits":
        from tlkeras.data.digits import digits_folder

        return folder.find(digits_folder(), name="digits")
    if package:
        return package.find(data.partition(":")[2], data_dir)
    if data.lower().endswith(".csv"):
        return _csv_part(data).find(Path(data).expanduser(), task, modality)
    if was_in_memory(data):
        raise UserError(f"--data was {data}, which a Python program had in memory. Give it there: train(data=...).")
    return folder.find(Path(data).expanduser(), data, modality)


def is_frame(data: Any) -> bool:
    """Return whether data are a pandas DataFrame, or something like it."""
    return hasattr(data, "columns") and hasattr(data, "dtypes")


def was_in_memory(data: str) -> bool:
    """Return whether `data` in the options of a run stands for what was in memory, and is no folder."""
    return data in IN_MEMORY and not Path(data).exists()


def describe(data: Any) -> str:
    """Return `data` for the options of a run: a name or path as it is, a word for data in memory."""
    if isinstance(data, str | os.PathLike):
        return os.fspath(data)
    if is_frame(data):
        return "DataFrame"
    from tlkeras.data import memory

    return memory.describe(data)


def source_package(data: str) -> ModuleType | None:
    """Return the package `tlkeras.data.PREFIX` of `PREFIX:REST`, None for a path; refuse what has none."""
    prefix, colon, _ = data.partition(":")
    known = [module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]) if module.ispkg]
    if colon and prefix in known:
        return importlib.import_module(f"tlkeras.data.{prefix}")
    if not re.match(r"[a-z]{2,}:", data) or Path(data).exists():
        return None
    choices = ["a folder", "a CSV file", "digits", *(f"{name}:NAME" for name in known)]
    raise unknown_prefix("--data", data, choices)


def _csv_part(data: str) -> ModuleType:
    try:
        return importlib.import_module(f"{__package__}.csv_file")
    except ModuleNotFoundError:
        raise UserError(
            f"--data was {data}, and this project was made without CSV files; the template's tools/new_project.py "
            "--with csv makes one with them. Give a folder with one subfolder per class."
        ) from None


def short_name(data: str) -> str:
    """Return what to call a run on this data: the name of a file or folder, or what its package says."""
    package = source_package(data)
    if package:
        return package.short_name(data.partition(":")[2])
    return data if was_in_memory(data) else Path(data).stem


def _check_trainable(listing: DatasetListing) -> None:
    """Refuse what no model can be trained on, whatever kind of source it came from."""
    plural, singular = listing.modality.plural, listing.modality.singular
    splits = {example.split for example in listing.examples}
    if splits != {None} and "train" not in splits:
        raise UserError(f"{listing.name} has no training {plural}, only {' and '.join(sorted(map(str, splits)))}.")
    if listing.task == "regression":
        training = {example.label for example in listing.examples if example.split in (None, "train")}
        if len(training) == 1:
            raise UserError(
                f"All training {plural} of {listing.name} have the label {training.pop()}: there is nothing to "
                f"predict. Give {plural} with other numbers too."
            )
        return
    if listing.task == "single_label" and len(listing.classes) == 1:
        raise UserError(
            f"{listing.name} has one class only, {listing.classes[0]!r}. A classifier needs two or more. If the "
            f"classes are the subfolders of {listing.classes[0]!r}, give that folder; else add a class."
        )
    if not listing.classes:
        raise UserError(
            f"No {singular} of {listing.name} has a label. Give at least one class name in the label column."
        )
    classes: dict[Split | None, set[str]] = {}
    for example in listing.examples:
        classes.setdefault(example.split, set()).update(class_names(example.label))
    for split in ("validation", "test"):
        if missing := sorted(classes.get(split, set()) - classes.get("train", set())):
            raise UserError(
                f"The {split} {plural} of {listing.name} have classes that the training {plural} lack: "
                f"{', '.join(missing[:5])}{', ...' if missing[5:] else ''}. Use the same class names in every split."
            )
