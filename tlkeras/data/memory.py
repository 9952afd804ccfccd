"""Images and labels that are in memory: NumPy arrays, a `tf.data.Dataset` or a `keras.utils.PyDataset`."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tlkeras.config.fields import Task, TaskOption
from tlkeras.data.example import JOINER, SPLIT_WORDS, DatasetListing, Example, Label, Split, plain_text
from tlkeras.errors import UserError, first_sentence
from tlkeras.modalities.image import ImageModality

Arrays = tuple[Sequence[Any], np.ndarray]  # images, one label for each
ACCEPTED = (
    "a folder, a CSV file, (images, labels), a DataFrame with the columns path and label, a tf.data.Dataset or a "
    "keras.utils.PyDataset of images and labels, or a dict of arrays or datasets by split"
)


def find(data: Any, task: TaskOption = "auto") -> DatasetListing:
    """List images that are in memory, with their labels.

    Args:
        data: `(images, labels)`, a finite `tf.data.Dataset` or a `keras.utils.PyDataset` of them, batched or not, or a
            dict of such with the keys "train", "validation" and "test". Images are uint8 or float, 0–255,
            `(N, H, W, 3)`, gray `(N, H, W, 1)` or `(N, H, W)`, or a list of images of several sizes, of Pillow too.
            Labels are class names or whole numbers `(N,)`, one-hot or multi-hot `(N, K)`, or for regression floats
            `(N,)`.
        task: what a label is; "auto" decides by their looks and says so in the notes.

    Raises:
        UserError: something else was given; the message says what.
    """
    splits = data if isinstance(data, Mapping) else {None: data}
    if not splits or len({_split_name(name) for name in splits}) < len(splits):
        raise UserError(
            f"The splits are {', '.join(map(str, splits)) or 'none'}. Give each of train, validation and test once."
        )
    parts = {_split_name(name): _to_arrays(part) for name, part in splits.items()}
    notes: list[str] = []
    try:
        stacked = np.concatenate([labels for _, labels in parts.values()])
    except ValueError:
        shapes = ", ".join(f"{split} {labels.shape}" for split, (_, labels) in parts.items())
        raise UserError(f"The labels of the splits have different shapes: {shapes}. Give the same kind.") from None
    chosen, classes, labels = _read_labels(stacked, task, notes)
    owners = [split for split, (images, _) in parts.items() for _ in range(len(images))]
    images = ImageModality.from_memory([image for images, _ in parts.values() for image in images])
    examples = [
        Example(f"{split}/{number}" if split else str(number), label, split, content=image)
        for number, (image, label, split) in enumerate(zip(images, labels, owners, strict=True))
    ]
    return DatasetListing(describe(data), examples, chosen, classes, notes)


def describe(data: Any) -> str:
    """Return what kind of data these are, in a word or two."""
    if data is None:
        raise UserError(f"The data are None. Give {ACCEPTED}.")
    if isinstance(data, Mapping):
        data = next(iter(data.values()), None)
    if hasattr(data, "as_numpy_iterator"):
        return "tf.data"
    return "PyDataset" if hasattr(data, "num_batches") else "arrays"


def _split_name(name: Any) -> Split | None:
    if name is not None and name not in SPLIT_WORDS:
        raise UserError(f"A split is called {name!r}. Call the splits train, validation and test.")
    return None if name is None else SPLIT_WORDS[name]


def _to_arrays(data: Any) -> Arrays:
    """Return images and labels, as many of each."""
    if hasattr(data, "as_numpy_iterator"):
        if int(data.cardinality()) == -1:
            raise UserError("The tf.data.Dataset repeats without end. Leave repeat() out, or give take(n).")
        images, labels = _from_batches(data.as_numpy_iterator(), "The tf.data.Dataset")
    elif hasattr(data, "num_batches") and hasattr(data, "__getitem__"):
        if data.num_batches is None:
            raise UserError("The PyDataset does not say how many batches it has. Give it a __len__.")
        images, labels = _from_batches((data[index] for index in range(data.num_batches)), "The PyDataset")
    elif isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, tuple) for part in data):
        raise UserError("Two pairs of images and labels were given. Give {'train': (x, y), 'test': (x, y)}.")
    elif isinstance(data, tuple | list) and len(data) == 2:
        images, labels = data[0], _label_array(data[1])
    elif isinstance(data, str | os.PathLike):
        raise UserError(
            f"A split is the path {data}. Give one folder with subfolders train, validation and test, a CSV file with "
            "the column split, or a dict of arrays."
        )
    else:
        count = f" of {len(data)}" if isinstance(data, tuple | list) else ""
        raise UserError(f"The data are a {type(data).__name__}{count}. Give {ACCEPTED}.")
    if not hasattr(images, "__len__"):
        raise UserError(f"The images are a {type(images).__name__}. Give an array or a list of them.")
    if len(images) != len(labels) or not len(images):
        raise UserError(f"There are {len(images)} images and {len(labels)} labels. Give one label for each image.")
    return images, labels


def _from_batches(batches: Iterable[Any], what: str) -> Arrays:
    images: list[Any] = []
    labels: list[Any] = []
    for batch in _readable(batches, what):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            found = f"{len(batch)} things" if isinstance(batch, tuple | list) else "images without labels"
            raise UserError(f"{what} yields {found}. Let it yield (images, labels); class_weights= weights classes.")
        image, label = np.asarray(batch[0]), np.asarray(batch[1])
        if image.ndim == 4 or (image.ndim == 3 and image.shape[-1] > 4):
            images.extend(image)
            labels.extend(label)
        else:
            images.append(image)
            labels.append(label)
    return images, _label_array(labels)


def _readable(batches: Iterable[Any], what: str) -> Iterator[Any]:
    try:
        yield from batches
    except Exception as error:  # of any kind: it is the user's code
        raise UserError(f"{what} cannot be read: {first_sentence(error)}.") from error


def _label_array(labels: Any) -> np.ndarray:
    """Return labels as an array, several names of one image as a tuple in it."""
    if hasattr(labels, "columns") and len(labels.columns) > 1 and np.isin(labels.to_numpy(), (0, 1)).all():
        names = [str(column) for column in labels.columns]
        sets = [tuple(sorted(names[index] for index in np.flatnonzero(row))) for row in labels.to_numpy()]
        return np.array([name for (name,) in sets]) if all(len(one) == 1 for one in sets) else _tuples(sets)
    if hasattr(labels, "to_numpy"):
        labels = labels.to_numpy()
    several = isinstance(labels, list | tuple) and all(isinstance(label, list | tuple | set) for label in labels)
    if several and all(isinstance(name, str) for label in labels for name in label):
        return _tuples([tuple(sorted({plain_text(name).strip() for name in label})) for label in labels])
    try:
        array = np.atleast_1d(np.asarray(labels))
    except ValueError:
        raise UserError(
            "The labels have different lengths. Give (N,) names or numbers, or (N, K) of 0 and 1."
        ) from None
    if array.dtype.kind == "S":
        return np.char.decode(array, "utf-8")
    if array.dtype == object and array.ndim == 1 and any(isinstance(label, bytes) for label in array):
        return np.array([label.decode() if isinstance(label, bytes) else label for label in array], object)
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array


def _tuples(labels: list[tuple[str, ...]]) -> np.ndarray:
    """Return an array of tuples, which NumPy would make columns of where they are of one length."""
    array = np.empty(len(labels), object)
    array[:] = labels
    return array


def _read_labels(labels: np.ndarray, task: TaskOption, notes: list[str]) -> tuple[Task, list[str], list[Label]]:
    """Return what the labels are, the classes, and the label of each example."""
    if labels.ndim == 2:
        return _read_columns(labels, task, notes)
    if labels.ndim != 1:
        raise UserError(f"The labels have the shape {labels.shape}. Give (N,) names or numbers, or (N, K) of 0 and 1.")
    if labels.dtype.kind in "biuf":
        return _read_numbers(labels, task, notes)
    if all(isinstance(label, tuple) for label in labels) and task in ("auto", "multi_label"):
        return "multi_label", sorted({name for label in labels for name in label}), list(labels)
    names = [plain_text(label).strip() if isinstance(label, str) else label for label in labels]
    if wrong := [name for name in names if not isinstance(name, str) or name.lower() in ("", "nan")]:
        raise UserError(f"One of the labels is {wrong[0]!r}. Give a class name for each image.")
    if task != "single_label" and any(JOINER in name for name in names):
        if task == "auto":
            notes.append(f"Labels are read as several per image (multi_label), as some contain {JOINER}; "
                         "task='single_label' changes it.")  # fmt: skip
        sets = [tuple(sorted({part.strip() for part in name.split(JOINER)} - {""})) for name in names]
        return _read_labels(_tuples(sets), "multi_label", notes)
    if all(re.fullmatch(r"[-+]?\d+(\.0*)?", name) for name in names):  # as spreadsheets and pandas write classes
        names = [name.partition(".")[0] for name in names]
    _refuse_task(task, "single_label", "class names")
    return "single_label", sorted(set(names)), names


def _read_columns(labels: np.ndarray, task: TaskOption, notes: list[str]) -> tuple[Task, list[str], list[Label]]:
    if not np.isin(labels, (0, 1)).all():
        raise UserError(f"The labels have the shape {labels.shape} and hold more than 0 and 1. Give (N, K) of 0 and 1.")
    classes = [str(number) for number in range(labels.shape[1])]
    names: list[Label] = [tuple(classes[index] for index in np.flatnonzero(row)) for row in labels]
    one_each = all(isinstance(label, tuple) and len(label) == 1 for label in names)
    if task == "auto" and one_each:
        notes.append("Each label has one 1: read as one class per image (single_label); task='multi_label' changes it.")
    if task == "multi_label" or (task == "auto" and not one_each):
        return "multi_label", classes, names
    _refuse_task(task, "single_label" if one_each else "multi_label", f"{labels.shape[1]} columns of 0 and 1")
    return "single_label", classes, [label[0] for label in names if isinstance(label, tuple)]


def _read_numbers(labels: np.ndarray, task: TaskOption, notes: list[str]) -> tuple[Task, list[str], list[Label]]:
    if not np.isfinite(labels).all():
        raise UserError(f"{int((~np.isfinite(labels)).sum())} labels are NaN or infinite. Leave these images out.")
    whole = bool((labels == np.rint(labels)).all())
    if task == "regression" or (task == "auto" and not whole):
        if task == "auto":
            notes.append("Labels are read as quantities (regression), as they are numbers with fractions.")
        return "regression", [], list(map(float, labels))
    _refuse_task(task, "single_label" if whole else "regression", "numbers")
    if task == "auto":
        notes.append("Labels are read as classes (single_label), as all are whole numbers; for quantities give "
                     "task='regression'.")  # fmt: skip
    return "single_label", [str(int(number)) for number in np.unique(labels)], [str(int(label)) for label in labels]


def _refuse_task(task: TaskOption, found: Task, what: str) -> None:
    if task not in ("auto", found):
        raise UserError(f"The task is {task}, but the labels are {what}. Leave the task out, or give other labels.")
