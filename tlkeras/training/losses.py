"""The loss that a training minimizes, and its metrics."""

from typing import Any

import keras

from tlkeras.config.fields import Task


def loss_and_metrics(model: keras.Model, label_smoothing: float, task: Task) -> dict[str, Any]:
    """Return loss and metrics of a task, as arguments of `compile`.

    Args:
        model: from `build_classifier`; for regression its output layer tells the targets' unit.
        label_smoothing: fraction of each label spread over all classes (Szegedy et al. 2016, arXiv:1512.00567).
        task: cross-entropy for labels, the squared error for numbers.
    """
    if task == "single_label":
        loss = keras.losses.CategoricalCrossentropy(label_smoothing=label_smoothing)
        return {"loss": loss, "metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")]}
    if task == "multi_label":
        loss = keras.losses.BinaryCrossentropy(label_smoothing=label_smoothing)
        return {"loss": loss, "metrics": [keras.metrics.BinaryAccuracy(name="accuracy")]}
    # In units of the targets' own variance, so that learning rates and penalties mean the same for any unit.
    std = float(model.get_layer("units").scale)
    return {"loss": "mse", "loss_weights": std**-2, "metrics": [keras.metrics.MeanAbsoluteError(name="mae")]}
