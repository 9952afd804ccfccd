"""Features to batches, in the order that images would have had."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tlkeras.data.pipeline import (
    add_sample_weights,
    batch_indices,
    epoch_order,
    numpy_batches,
    steps_per_epoch,
)
from tlkeras.features.engines import unwrap_single
from tlkeras.features.extract import Features


def training_features(
    features: Features,
    *,
    batch_size: int,
    first_epoch: int,
    last_epoch: int,
    seed: int,
    class_weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Return what `training_batches` does, in the same order, with features in place of images.

    Args:
        features: of the training split; the epochs take turns through their views.
        batch_size: examples in a batch; the last one of an epoch may be smaller.
        first_epoch: counted over both phases, from 0.
        last_epoch: end of the range, not included.
        seed: of the order.
        class_weights: `(K,)`; each example then has a weight, by its target's fraction of each class.

    Returns:
        Features, one float32 array `(B, …)` or a tuple of such, targets `(B, K)` and perhaps weights `(B,)`.
    """
    steps = steps_per_epoch(len(features), batch_size)

    def make(step: np.int64) -> tuple[np.ndarray, ...]:
        epoch, index = divmod(int(step), steps)
        chosen = batch_indices(epoch_order(seed, epoch, len(features)), index, batch_size)
        return *features.rows(epoch % features.views, chosen), features.targets[chosen]

    batches = stream(tf.data.Dataset.range(first_epoch * steps, last_epoch * steps), make, features)
    return add_sample_weights(batches, class_weights)


def evaluation_features(features: Features, batch_size: int) -> tf.data.Dataset:
    """Return every example once, in order, first view: features, an array `(B, …)` or a tuple, and targets `(B, K)`."""

    def make(chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        return *features.rows(0, chosen), features.targets[chosen]

    return stream(tf.data.Dataset.range(len(features)).batch(batch_size), make, features)


def stream(steps: tf.data.Dataset, make: Callable, features: Features) -> tf.data.Dataset:
    """Return batches of features and targets made by a NumPy function for each element of `steps`.

    Args:
        steps: what the function is called with.
        make: returns an array `(B, …)` for each tensor of the features, and the targets `(B, K)`.
        features: tell their shapes.
    """
    shapes = [array.shape[1:] for array in features.arrays] + [features.targets.shape[1:]]
    batches = numpy_batches(steps, make, [(tf.float32, shape) for shape in shapes])
    return batches.map(lambda *parts: (unwrap_single(parts[:-1]), parts[-1]))
