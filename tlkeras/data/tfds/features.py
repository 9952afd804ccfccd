"""Which feature of a TensorFlow data set is the picture, and which is its label."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlkeras.config import Task
from tlkeras.errors import UserError

Keys = tuple[str, ...]  # from the outside in: ("label",), or ("objects", "label") where features are nested
USUAL_LABELS = ("label", "labels")


@dataclass(frozen=True)
class LabelFeature:
    """A feature that can be learnt.

    Attributes:
        keys: where it is.
        task: what it is.
        classes: names in the data set's order; None where the values themselves are the names.
    """

    keys: Keys
    task: Task
    classes: list[str] | None = None


def find_features(tfds: Any, name: str, info: Any) -> tuple[Keys, LabelFeature]:
    """Returns where the picture is, and the label.

    The data set's own `supervised_keys` come first, then the usual names (`image`; `label`, `labels`, also inside such
    as `objects`), then the only one there is: one class, several classes, a number.

    Args:
        tfds: The module.
        name: Of the data set, for messages.
        info: Of its builder.

    Raises:
        UserError: There is no picture or no label, or several of which none stands out.
    """
    # Sorted, as a data set that is read from its files has them in any order.
    features = sorted(_walk(tfds, info.features, ()), key=lambda feature: feature[0])
    own = [(key,) for key in info.supervised_keys or () if isinstance(key, str)]
    pictures = [keys for keys, feature, several in features if _is_picture(tfds, feature) and not several]
    picture = _first(pictures, own) or _first(pictures, [("image",)]) or _only(pictures)
    labels = [label for keys, feature, several in features if (label := _label(tfds, keys, feature, several))]
    label = _choose_label(labels, own)
    if picture is None or label is None:
        lacking = "picture" if picture is None else "label"
        found = pictures if picture is None else [label.keys for label in labels if label.classes]
        problem = f"no {lacking}" if len(found) < 2 else f"several that could be the {lacking}: {_names(found)}"
        raise UserError(
            f"tfds:{name} has {problem}. Its features are {_described(features)}. "
            "One picture of each example is needed, and a class, several classes or a number; text, sound and video "
            "are not read by tlkeras. Write the pictures to a folder and list them in a CSV file instead."
        )
    dtype = np.dtype(next(feature for keys, feature, _ in features if keys == picture).np_dtype)
    if dtype.kind != "u":
        raise UserError(
            f"The pictures of tfds:{name} are {dtype}, not 8 or 16 bits. Write them to a folder as PNG files instead."
        )
    return picture, label


def _walk(tfds: Any, feature: Any, keys: Keys, several: bool = False) -> Iterator[tuple[Keys, Any, bool]]:
    """Yields each feature with its keys, and whether an example holds a list of them."""
    if isinstance(feature, tfds.features.FeaturesDict):
        for key, inner in feature.items():
            yield from _walk(tfds, inner, (*keys, key), several)
    elif type(feature) is tfds.features.Sequence and not several and not _has_length(feature):
        yield from _walk(tfds, feature.feature, keys, several=True)
    else:
        yield keys, feature, several


def _has_length(sequence: Any) -> bool:
    """Whether each example has as many: then the places mean something, as of findings that are there or not."""
    return sequence._length is not None


def _is_picture(tfds: Any, feature: Any) -> bool:
    # A map of labels for each pixel is a kind of picture to TFDS.
    return isinstance(feature, tfds.features.Image) and not isinstance(feature, tfds.features.LabeledImage)


def _label(tfds: Any, keys: Keys, feature: Any, several: bool) -> LabelFeature | None:
    """What a feature is as a label; None if it is none."""
    if isinstance(feature, tfds.features.ClassLabel) and feature.num_classes:
        return LabelFeature(keys, "multi_label" if several else "single_label", list(feature.names))
    if feature.shape == () and np.dtype(feature.np_dtype) == bool and not several:
        return LabelFeature(keys, "single_label", ["False", "True"])
    if several or feature.shape != () or isinstance(feature, tfds.features.ClassLabel):
        return None
    if isinstance(feature, tfds.features.Text) or np.issubdtype(feature.np_dtype, np.integer):
        return LabelFeature(keys, "single_label")
    return LabelFeature(keys, "regression", []) if np.issubdtype(feature.np_dtype, np.floating) else None


def _choose_label(labels: list[LabelFeature], own: list[Keys]) -> LabelFeature | None:
    """Text and whole numbers are labels only where the data set says so, or by a usual name."""
    usual = sorted(
        (label for label in labels if label.keys[-1] in USUAL_LABELS),
        key=lambda label: (len(label.keys), label.keys[-1]),
    )
    if named := [label for label in labels if label.keys in own] or usual:
        return named[0]
    for task in ("single_label", "multi_label", "regression"):
        if fitting := [label for label in labels if label.task == task and label.classes is not None]:
            return _only(fitting)
    return None


def _first(paths: list[Keys], wanted: list[Keys]) -> Keys | None:
    return next((keys for keys in wanted if keys in paths), None)


def _only(found: list[Any]) -> Any:
    return found[0] if len(found) == 1 else None


def _names(paths: list[Keys]) -> str:
    return ", ".join(".".join(keys) for keys in paths)


def _described(features: list[tuple[Keys, Any, bool]]) -> str:
    kinds = ((keys, f"{'list of ' if several else ''}{type(feature).__name__}") for keys, feature, several in features)
    return ", ".join(f"{_names([keys])} ({kind})" for keys, kind in kinds)
