"""Decoded examples to batches: `tf.data` of inputs, targets and weights of the examples.

Pictures are RGB 0–255 `(B, S, S, 3)` float32, texts `(B,)` of strings, sounds `(B, samples)` float32.
"""

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tlkeras.config import AugmentOptions, ModalityName
from tlkeras.data.augment import augment
from tlkeras.io.arrays import FileArray
from tlkeras.data.prepare import PreparedData
from tlkeras.data.loading import available_cores
from tlkeras.data.targets import make_targets


@dataclass(frozen=True)
class SplitData:
    """Decoded examples of one split.

    Attributes:
        inputs: pictures: uint8 `(N, S, S, 3)`, RGB; texts: `(N,)` of str; sounds: float32 `(N, samples)`; an array in
            memory or in a file. It may hold other splits too.
        rows: int64 `(n,)`, which rows of `inputs` belong to this split.
        targets: float32 `(n, K)`, in the order of `rows`.
    """

    inputs: np.ndarray | FileArray
    rows: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def form(self) -> ModalityName:
        """What they are."""
        if self.inputs.dtype.kind in "OU":
            return "texts"
        return "pictures" if len(self.inputs.shape) == 4 else "sounds"

    def take(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Examples and targets at some positions of this split.

        Args:
            positions: integers `(m,)`, each from 0 to less than `len(self)`.

        Returns:
            Rows of `inputs`, such as uint8 `(m, S, S, 3)`, RGB 0–255, and float32 `(m, K)`.
        """
        return self.inputs[self.rows[positions]], self.targets[positions]

    def spread(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples and targets from all over this split, as those of one class lie side by side."""
        return self.take(np.unique(np.linspace(0, len(self) - 1, count).astype(int)))

    def first(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first examples and targets of this split, fewer where it is smaller."""
        return self.take(np.arange(min(count, len(self))))


def split_data(data: PreparedData) -> dict[str, SplitData]:
    """The splits of prepared data over one array of pictures.

    Args:
        data: what `prepare_data` gave.

    Returns:
        A set of examples for each split, by its name: "train", "validation" and, where there is one, "test".
    """
    targets = make_targets(data.examples, data.task, data.classes)
    return {name: SplitData(data.inputs, rows, targets[rows]) for name, rows in data.splits.items()}


def training_batches(
    data: SplitData,
    options: AugmentOptions,
    *,
    batch_size: int,
    first_epoch: int,
    last_epoch: int,
    seed: int,
    class_weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Batches of all epochs from `first_epoch` up to, not including, `last_epoch`, shuffled and augmented.

    A batch depends on nothing but the seed, its epoch and its place in it, so any epoch can be repeated exactly. An
    epoch has `ceil(len(data) / batch_size)` batches: give that as `steps_per_epoch`.

    Args:
        data: the training split.
        options: the augmentation, which is for pictures only.
        batch_size: examples in a batch; the last one of an epoch may be smaller.
        first_epoch: counted over both phases, from 0.
        last_epoch: end of the range.
        seed: of order and augmentation.
        class_weights: `(K,)`; each example then has a weight, by its target's share of each class.

    Returns:
        `(inputs, targets)` or `(inputs, targets, weights)`: inputs as `stream` gives them, float32 `(B, K)` and `(B,)`.
    """
    steps = steps_per_epoch(len(data), batch_size)
    threads = ThreadPoolExecutor(available_cores())

    def make(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(int(step), steps)
        chosen = batch_indices(epoch_order(seed, epoch, len(data)), place, batch_size)
        inputs, targets = data.take(chosen)
        if data.form != "pictures":
            return inputs, targets
        return augment(inputs, targets, options, np.random.default_rng([seed, epoch, place]), threads)

    batches = stream(tf.data.Dataset.range(first_epoch * steps, last_epoch * steps), make, data)
    return add_sample_weights(batches, class_weights)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Batches in an epoch; the last one may be smaller."""
    return math.ceil(count / batch_size)


@functools.lru_cache(maxsize=2)  # every step of an epoch asks for it
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """The order of an epoch: a permutation `(count,)` that depends on nothing but its arguments."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def batch_indices(order: np.ndarray, place: int, batch_size: int) -> np.ndarray:
    """The part of an epoch's order `(count,)` that makes one batch, `(batch_size,)` or the rest."""
    return order[place * batch_size : (place + 1) * batch_size]


def add_sample_weights(batches: tf.data.Dataset, class_weights: np.ndarray | None) -> tf.data.Dataset:
    """Batches `(inputs, targets)` with a weight for each example, where classes have weights."""
    if class_weights is None:
        return batches
    return batches.map(lambda inputs, targets: (inputs, targets, tf.linalg.matvec(targets, class_weights)))


def evaluation_batches(data: SplitData, batch_size: int) -> tf.data.Dataset:
    """Every example of a split once, in order, untouched: `(inputs, targets)` as in `training_batches`."""
    return stream(tf.data.Dataset.range(len(data)).batch(batch_size), data.take, data)


def stream(steps: tf.data.Dataset, make: Callable, data: SplitData) -> tf.data.Dataset:
    """Batches of examples and targets made by a NumPy function for each element of `steps`.

    Args:
        steps: what the function is called with.
        make: returns rows of `data.inputs` and float32 targets `(B, K)`.
        data: tells their shapes.

    Returns:
        Float32 pictures `(B, S, S, 3)`, 0–255, strings `(B,)`, or float32 sounds `(B, samples)`; and targets.
    """
    dtype = tf.string if data.form == "texts" else tf.dtypes.as_dtype(data.inputs.dtype)
    batches = numpy_batches(steps, make, [(dtype, data.inputs.shape[1:]), (tf.float32, data.targets.shape[1:])])
    if data.form != "pictures":
        return batches
    return batches.map(lambda images, targets: (tf.cast(images, tf.float32), targets))


def numpy_batches(
    steps: tf.data.Dataset, make: Callable, parts: Sequence[tuple[tf.DType, tuple[int, ...]]]
) -> tf.data.Dataset:
    """Tuples of arrays made by a NumPy function for each element of `steps`, two of them ahead of time.

    Args:
        steps: what the function is called with.
        make: returns an array `(B, …)` for each part.
        parts: dtype and shape without the first axis of each.
    """

    def load(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        arrays = tf.numpy_function(make, [step], [dtype for dtype, _ in parts])
        for array, (_, shape) in zip(arrays, parts, strict=True):
            array.set_shape([None, *shape])
        return tuple(arrays)

    options = tf.data.Options()
    # There is nothing to tune, and the tuner's thread can keep the end of `fit` waiting for eight seconds.
    options.autotune.enabled = False
    return steps.map(load).prefetch(2).with_options(options)
