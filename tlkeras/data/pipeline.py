"""Decoded examples to batches: `tf.data` of inputs, targets and sample weights.

Images are RGB 0–255 `(B, S, S, 3)` float32, texts `(B,)` of strings.
"""

import functools
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tlkeras.config.fields import Resize, Task
from tlkeras.config.train import AugmentOptions
from tlkeras.data.augment import augment
from tlkeras.data.example import Example, class_names
from tlkeras.data.loading import available_cores
from tlkeras.data.own_augment import OwnAugmentation
from tlkeras.data.prepare import PreparedData
from tlkeras.data.streaming import Rows
from tlkeras.modalities.base import Modality
from tlkeras.modalities.image import ImageModality


@dataclass(frozen=True, repr=False)
class SplitData:
    """Decoded examples of one split.

    Attributes:
        inputs: such as images, uint8 `(N, S, S, 3)`, RGB; in memory, in a file, or decoded when asked for.
            They may hold other splits too.
        rows: int64 `(n,)`, which rows of `inputs` belong to this split.
        targets: float32 `(n, K)`, in the order of `rows`.
        modality: what they are.
        task: what the targets are; None where that is not known.
        classes: the names of the targets' columns, where they are known; empty for regression.
        resize: how images became squares, where that is known.
    """

    inputs: Rows
    rows: np.ndarray
    targets: np.ndarray
    modality: type[Modality] = ImageModality
    task: Task | None = None
    classes: Sequence[str] | None = None
    resize: Resize | None = None

    def __repr__(self) -> str:
        inputs, targets = f"{self.inputs.dtype} {self.inputs.shape[1:]}", np.shape(self.targets)
        return f"SplitData({self.modality.count_noun(len(self))}, {inputs}, targets {targets}, task {self.task})"

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows of `inputs` and float32 targets `(m, K)` at some indices `(m,)` of this split."""
        return self.inputs[self.rows[indices]], self.targets[indices]

    def spread(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return examples and targets from all over this split, as those of one class are side by side."""
        return self.take(np.unique(np.linspace(0, len(self) - 1, count).astype(int)))

    def first(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the first examples and targets of this split, fewer where it is smaller."""
        return self.take(np.arange(min(count, len(self))))


def split_data(data: PreparedData) -> dict[str, SplitData]:
    """Return the splits of prepared data over one array of inputs.

    Args:
        data: what `prepare_data` returned.

    Returns:
        The data of each split by its name: "train", "validation" and, where there is one, "test".

    Example:
        >>> splits = tlkeras.split_data(data)
        >>> len(splits["train"])
    """
    targets = make_targets(data.examples, data.task, data.classes)
    modality, resize = type(data.modality), data.modality.options().get("resize")
    return {
        name: SplitData(data.inputs, rows, targets[rows], modality, data.task, data.classes, resize)
        for name, rows in data.splits.items()
    }


def make_targets(examples: Sequence[Example], task: Task, classes: Sequence[str]) -> np.ndarray:
    """Return labels as float32 `(N, K)`: one-hot, multi-hot for multi_label; `(N, 1)` numbers for regression.

    One-hot rather than integers because label smoothing, MixUp and Keras' F1 and AUC need it.
    """
    if task == "regression":
        return np.array([[example.label] for example in examples], dtype="float32")
    index = {name: number for number, name in enumerate(classes)}
    targets = np.zeros((len(examples), len(classes)), dtype="float32")
    for row, example in enumerate(examples):
        targets[row, [index[name] for name in class_names(example.label)]] = 1.0
    return targets


def balanced_class_weights(targets: np.ndarray, task: Task) -> np.ndarray:
    """Return weights `(K,)` that let every class count the same in sum, with mean 1 over the examples.

    The rule is scikit-learn's "balanced": count of examples / (count of classes x count of the class). With several
    labels each is a choice between two classes of its own: `(2, K)`, the weights of being absent and of being present.
    """
    counts = targets.sum(axis=0)
    if task == "multi_label":
        both = np.stack([len(targets) - counts, counts])
        return np.where(both.all(axis=0), len(targets) / (2 * np.maximum(both, 1.0)), 1.0).astype("float32")
    return (len(targets) / (len(counts) * np.maximum(counts, 1.0))).astype("float32")


def oversample(targets: np.ndarray) -> np.ndarray:
    """Return the indices of an epoch in which every class is as frequent as the most frequent one, by repetition."""
    classes = targets.argmax(axis=1)
    rows = [np.flatnonzero(classes == one) for one in np.unique(classes)]
    most = max(len(one) for one in rows)
    return np.concatenate([np.resize(one, most) for one in rows])


def training_batches(
    data: SplitData,
    options: AugmentOptions,
    *,
    batch_size: int,
    first_epoch: int,
    last_epoch: int,
    seed: int,
    class_weights: np.ndarray | None = None,
    drawn: np.ndarray | None = None,
    own_augment: OwnAugmentation | None = None,
) -> tf.data.Dataset:
    """Return batches of all epochs from `first_epoch` up to, not including, `last_epoch`, shuffled and augmented.

    A batch `(inputs, targets)`, with weights where there are `class_weights`, see `add_sample_weights`, depends on
    nothing but the seed, its epoch, counted over both phases, and its index in it: any epoch can be repeated exactly.
    An epoch goes through all examples, or through those of `drawn`, some of which may be there several times.
    """
    drawn = np.arange(len(data)) if drawn is None else drawn
    steps = steps_per_epoch(len(drawn), batch_size)
    threads = ThreadPoolExecutor(available_cores())

    def make(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        epoch, index = divmod(int(step), steps)
        inputs, targets = data.take(drawn[batch_indices(epoch_order(seed, epoch, len(drawn)), index, batch_size)])
        if not data.modality.augmentable:
            return inputs, targets
        if own_augment and not index:
            own_augment.start_epoch(seed, epoch)
        return augment(inputs, targets, options, np.random.default_rng([seed, epoch, index]), threads, own_augment)

    batches = stream(tf.data.Dataset.range(first_epoch * steps, last_epoch * steps), make, data)
    return add_sample_weights(batches, class_weights)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Return the number of batches in an epoch; the last one may be smaller."""
    return math.ceil(count / batch_size)


def even_batch_size(count: int, batch_size: int) -> int:
    """Return a size that makes as many batches and none much smaller: a batch of one has no statistics."""
    return steps_per_epoch(count, steps_per_epoch(count, batch_size))


@functools.lru_cache(maxsize=2)  # every step of an epoch asks for it
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of an epoch: a permutation `(count,)` that depends on nothing but its arguments."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def batch_indices(order: np.ndarray, index: int, batch_size: int) -> np.ndarray:
    """Return the part of an epoch's order `(count,)` that makes one batch, `(batch_size,)` or the rest."""
    return order[index * batch_size : (index + 1) * batch_size]


def add_sample_weights(batches: tf.data.Dataset, class_weights: np.ndarray | None) -> tf.data.Dataset:
    """Return batches `(inputs, targets)` with a weight for each example `(B,)`, or for each of its labels `(B, K)`."""
    if class_weights is None:
        return batches
    if class_weights.ndim == 2:
        absent, present = class_weights
        return batches.map(lambda inputs, targets: (inputs, targets, absent + targets * (present - absent)))
    return batches.map(lambda inputs, targets: (inputs, targets, tf.linalg.matvec(targets, class_weights)))


def evaluation_batches(data: SplitData, batch_size: int) -> tf.data.Dataset:
    """Return every example of a split once, in order, untouched: `(inputs, targets)` as in `training_batches`."""
    return stream(tf.data.Dataset.range(len(data)).batch(batch_size), data.take, data)


def stream(steps: tf.data.Dataset, make: Callable, data: SplitData) -> tf.data.Dataset:
    """Return batches for each element of `steps`, of which `make` makes rows of `data.inputs` and targets `(B, K)`.

    Images become float32 `(B, S, S, 3)`, 0–255.
    """
    kind = data.inputs.dtype.kind
    dtype = tf.string if kind in "OU" else tf.dtypes.as_dtype(data.inputs.dtype)
    batches = numpy_batches(steps, make, [(dtype, data.inputs.shape[1:]), (tf.float32, data.targets.shape[1:])])
    if kind in "ui":
        batches = batches.map(lambda inputs, targets: (tf.cast(inputs, tf.float32), targets))
    return batches


def numpy_batches(
    steps: tf.data.Dataset, make: Callable, parts: Sequence[tuple[tf.DType, tuple[int, ...]]]
) -> tf.data.Dataset:
    """Return tuples of arrays that a NumPy function makes of each element of `steps`, two of them ahead of time.

    Each part is the dtype of an array `(B, …)` and its shape without the first axis.
    """

    def load(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        arrays = tf.numpy_function(make, [step], [dtype for dtype, _ in parts])
        for array, (_, shape) in zip(arrays, parts, strict=True):
            array.set_shape([None, *shape])
        return tuple(arrays)

    options = tf.data.Options()
    # There is nothing to tune, and the tuner's thread can delay the end of `fit` for eight seconds.
    options.autotune.enabled = False
    return steps.map(load).prefetch(2).with_options(options)
