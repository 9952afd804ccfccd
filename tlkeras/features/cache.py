"""Run each picture once through what stays frozen, and keep what comes out.

A frozen layer gives the same output for the same pixels, so running it again in every epoch is waste. With augmentation
a few views of each training picture are kept, and the epochs take turns through them.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkeras.config import AugmentOptions
from tlkeras.data.augment import augment
from tlkeras.data.images import available_cores
from tlkeras.data.pipeline import ImageSet, epoch_order, positions_of_step, steps_per_epoch, weighted

PASS_BATCH = 32  # pictures in a step of the pass


@dataclass(frozen=True)
class Features:
    """What came out at a cut.

    Attributes:
        arrays: for each tensor that crosses the cut an array `(views, N, …)`.
        targets: float32 `(N, K)`.
    """

    arrays: list[np.ndarray]
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def nbytes(self) -> int:
        """Memory that the features take."""
        return sum(array.nbytes for array in self.arrays)

    def through(self, model: keras.Model) -> "Features":
        """The features after some more frozen layers."""
        views, count = self.arrays[0].shape[:2]
        flat = Features([array.reshape(1, views * count, *array.shape[2:]) for array in self.arrays], self.targets)
        outputs = run(model, (flat.rows(0, chosen) for chosen in chunks(views * count)), views * count)
        return Features([array.reshape(views, count, *array.shape[1:]) for array in outputs], self.targets)

    def rows(self, view: int, positions: np.ndarray) -> list[np.ndarray]:
        """Features of some pictures in one view."""
        return [array[view, positions] for array in self.arrays]


def compute(model: keras.Model, data: ImageSet, options: AugmentOptions | None, views: int, seed: int) -> Features:
    """One pass over the pictures for each view.

    Args:
        model: lower half of a cut.
        data: the pictures.
        options: the augmentation; None for none.
        views: how many augmented views of each picture.
        seed: of the augmentation.
    """
    threads = ThreadPoolExecutor(available_cores())

    def batches() -> Iterator[list[np.ndarray]]:
        for view in range(views):
            for number, chosen in enumerate(chunks(len(data))):
                images, targets = data.take(chosen)
                if options is not None:
                    rng = np.random.default_rng([seed, view, number])
                    images, _ = augment(images, targets, options, rng, threads)
                yield [images]

    outputs = run(model, batches(), views * len(data))
    return Features([array.reshape(views, len(data), *array.shape[1:]) for array in outputs], data.targets)


def run(model: keras.Model, batches: Iterator[list[np.ndarray]], count: int) -> list[np.ndarray]:
    """Outputs of a model in inference mode for all batches, written into arrays as they come."""
    signature = [tf.TensorSpec(tensor.shape, "float32") for tensor in model.inputs]

    @tf.function(input_signature=signature)
    def step(*inputs: tf.Tensor) -> list[tf.Tensor]:
        return keras.tree.flatten(model(one_or_all(inputs), training=False))

    arrays = [np.empty((count, *tensor.shape[1:]), "float32") for tensor in model.outputs]
    done = 0
    for batch in batches:
        outputs = step(*(tf.cast(part, "float32") for part in batch))
        for array, part in zip(arrays, outputs, strict=True):
            array[done : done + len(part)] = part
        done += len(batch[0])
    return arrays


def one_or_all(parts: Sequence) -> Any:
    """Inputs as the models of `tlkeras.features.cut` take them: a tuple only where there are several."""
    return tuple(parts) if len(parts) > 1 else parts[0]


def chunks(count: int) -> list[np.ndarray]:
    """Positions 0 to `count`, a batch of the pass at a time."""
    return np.split(np.arange(count), range(PASS_BATCH, count, PASS_BATCH))


def training_features(
    features: Features,
    *,
    batch_size: int,
    first_epoch: int,
    last_epoch: int,
    seed: int,
    class_weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """As `tlkeras.data.pipeline.training_batches`, in the same order, with features in place of pictures."""
    steps, views = steps_per_epoch(len(features), batch_size), len(features.arrays[0])

    def make(step: np.int64) -> tuple[np.ndarray, ...]:
        epoch, place = divmod(int(step), steps)
        chosen = positions_of_step(epoch_order(seed, epoch, len(features)), place, batch_size)
        return *features.rows(epoch % views, chosen), features.targets[chosen]

    batches = stream(tf.data.Dataset.range(first_epoch * steps, last_epoch * steps), make, features)
    return weighted(batches, class_weights)


def evaluation_features(features: Features, batch_size: int) -> tf.data.Dataset:
    """Every picture once, in order, first view."""

    def make(chosen: np.ndarray) -> tuple[np.ndarray, ...]:
        return *features.rows(0, chosen), features.targets[chosen]

    return stream(tf.data.Dataset.range(len(features)).batch(batch_size), make, features)


def stream(steps: tf.data.Dataset, make: Callable, features: Features) -> tf.data.Dataset:
    """Batches made by a NumPy function, two of them ahead of time, with known shapes."""
    shapes = [array.shape[2:] for array in features.arrays] + [features.targets.shape[1:]]

    def load(step: tf.Tensor) -> tuple:
        parts = tf.numpy_function(make, [step], [tf.float32] * len(shapes))
        for part, shape in zip(parts, shapes, strict=True):
            part.set_shape([None, *shape])
        return one_or_all(parts[:-1]), parts[-1]

    return steps.map(load).prefetch(2)
