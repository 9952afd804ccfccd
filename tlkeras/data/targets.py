"""Labels as the source names them, as the arrays that a model is trained on."""

from collections.abc import Sequence

import numpy as np

from tlkeras.config.fields import Task
from tlkeras.data.example import Example, class_names


def make_targets(examples: Sequence[Example], task: Task, classes: Sequence[str]) -> np.ndarray:
    """Return one row of float32 for each example.

    Returns:
        `(N, K)`: one-hot for single_label, multi-hot for multi_label; `(N, 1)` numbers for regression. One-hot rather
        than integers because label smoothing, MixUp and Keras' F1 and AUC need it.
    """
    if task == "regression":
        return np.array([[example.label] for example in examples], dtype="float32")
    index = {name: number for number, name in enumerate(classes)}
    targets = np.zeros((len(examples), len(classes)), dtype="float32")
    for row, example in enumerate(examples):
        targets[row, [index[name] for name in class_names(example.label)]] = 1.0
    return targets


def balanced_class_weights(targets: np.ndarray) -> np.ndarray:
    """Return weights `(K,)` that let every class count the same in sum, with mean 1 over the examples.

    The rule is scikit-learn's "balanced": count of examples / (count of classes x count of the class).
    """
    counts = targets.sum(axis=0)
    return (len(targets) / (len(counts) * np.maximum(counts, 1.0))).astype("float32")
