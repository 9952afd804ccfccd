"""Find examples: folder, CSV file, TensorFlow Datasets name or the built-in digits -> a `Source`.

To add a kind of source, write a module beside `folders.py` that returns a `Source`, and give it a line in
`find_examples`.
"""

from pathlib import Path
from typing import Literal, get_args

from tlkeras.config import ModalityName
from tlkeras.data import digits, folders, tables, tfds
from tlkeras.data.example import Example, Label, DatasetListing, Split, Task
from tlkeras.modalities.base import one
from tlkeras.errors import UserError

__all__ = ["Example", "Label", "Source", "Split", "Task", "find_examples"]


def find_examples(
    data: str,
    task: str = "auto",
    training: bool = True,
    data_dir: str | None = None,
    form: ModalityName | Literal[""] = "pictures",
) -> DatasetListing:
    """Lists the pictures, texts or sounds of a data set with their labels; opens none of them.

    Args:
        data: A folder with one subfolder per class, or with `train`, `validation`, `test` folders of such
            subfolders; a `.csv` file with the columns `path`, `label` and optionally `split`; `tfds:NAME`
            or `tfds:FOLDER` for a data set of TensorFlow Datasets, with parts such as `train[:80%]` behind another
            colon if wanted; or `digits`, a built-in set of small pictures.
        task: `single_label`, `multi_label`, `regression`, or `auto` to let the source decide.
        training: Refuse also what can be judged but not learnt from, such as pictures of one class only.
        data_dir: Where TensorFlow Datasets keeps its data sets, if not where it usually does.
        form: What is wanted; empty where that is not known. What is found may be another form.

    Raises:
        UserError: `data` cannot be used, or not for this task. The message says why and what to do.
    """
    if task not in ("auto", *get_args(Task)):
        raise UserError(f"The task is {task!r}. Give auto, {', '.join(get_args(Task))}.")
    if data == "digits":
        source = folders.find(digits.digits_folder(), name="digits")
    elif data.startswith("tfds:"):
        source = tfds.find(data.removeprefix("tfds:"), data_dir)
    elif data.lower().endswith(".csv"):
        source = tables.find(Path(data).expanduser(), task, form)
    else:
        source = folders.find(Path(data).expanduser(), data, form)
    _check_task(source, task)
    if training:
        _check_learnable(source)
    return source


def _check_task(source: DatasetListing, task: str) -> None:
    """Refuses labels of another kind than the task needs."""
    if task not in ("auto", source.task):
        raise UserError(
            f"The task is {task}, but {source.name} holds {source.task} labels. Leave the task at auto, "
            f"or list the {source.form} in a CSV file with the columns path and label."
        )


def _check_learnable(source: DatasetListing) -> None:
    """Refuses what no model can learn from, whatever kind of source it came from."""
    splits = {example.split for example in source.examples}
    if splits != {None} and "train" not in splits:
        raise UserError(f"{source.name} has no training {source.form}, only {' and '.join(sorted(splits))}.")
    if source.task == "regression":
        training = [example for example in source.examples if example.split in (None, "train")]
        if len({example.label for example in training}) == 1:
            raise UserError(
                f"All training {source.form} of {source.name} have the number {training[0].label} as their label: "
                f"there is nothing to learn. Give {source.form} of other numbers too."
            )
        return
    if source.task == "single_label" and len(source.classes) == 1:
        raise UserError(
            f"{source.name} has one class only, {source.classes[0]!r}. A classifier needs two or more. If the classes "
            f"are the subfolders of {source.classes[0]!r}, give that folder; else add a class of other {source.form}."
        )
    if not source.classes:
        raise UserError(
            f"No {one(source.form)} of {source.name} has a label. Give at least one class name in the label column."
        )
    _check_classes_in_train(source)


def _check_classes_in_train(source: DatasetListing) -> None:
    """A class that is validated or tested but never trained is a mistake in the data."""
    classes: dict[Split | None, set[str]] = {}
    for example in source.examples:
        names = example.label if isinstance(example.label, tuple) else (example.label,)
        classes.setdefault(example.split, set()).update(names)
    for split in ("validation", "test"):
        if unknown := sorted(classes.get(split, set()) - classes.get("train", set())):
            raise UserError(
                f"The {split} {source.form} of {source.name} have classes that the training {source.form} lack: "
                f"{', '.join(unknown[:5])}{', ...' if unknown[5:] else ''}. Use the same class names in every split."
            )
