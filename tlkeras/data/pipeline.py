"""Decoded pictures to batches: `tf.data` of RGB 0–255 `(B, S, S, 3)` float32, targets and weights of the examples."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tlkeras.config import AugmentOptions
from tlkeras.data.augment import augment


@dataclass(frozen=True)
class ImageSet:
    """Decoded pictures of one split.

    Attributes:
        images: uint8 `(N, S, S, 3)`, RGB; an array in memory or mapped from a file. It may hold other splits too.
        rows: int64 `(n,)`, which pictures of `images` belong to this split.
        targets: float32 `(n, K)`, in the order of `rows`.
    """

    images: np.ndarray
    rows: np.ndarray
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and targets at some positions of this split."""
        return self.images[self.rows[positions]], self.targets[positions]

    def first(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The first pictures and targets of this split, fewer where it is smaller."""
        return self.take(np.arange(min(count, len(self))))


def training_batches(
    data: ImageSet,
    options: AugmentOptions,
    *,
    batch_size: int,
    first_epoch: int,
    last_epoch: int,
    seed: int,
    class_weights: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Batches of all epochs from `first_epoch` up to, not including, `last_epoch`, shuffled and augmented.

    Order and augmentation depend on nothing but the seed, the epoch and the position in it, so an epoch can be
    repeated exactly. An epoch has `ceil(len(data) / batch_size)` batches: give that as `steps_per_epoch`.

    Args:
        data: the training split.
        options: the augmentation.
        batch_size: pictures in a batch; the last one of an epoch may be smaller.
        first_epoch: counted over both phases, from 0.
        last_epoch: end of the range.
        seed: of order and augmentation.
        class_weights: `(K,)`; each example is weighted by its target's share of each class.

    Returns:
        `(images, targets, weights)`: float32 `(B, S, S, 3)` 0–255, float32 `(B, K)`, float32 `(B,)`.
    """
    per_class = np.ones(data.targets.shape[1], "float32") if class_weights is None else class_weights

    def one_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.numpy_function(
            lambda e: np.random.default_rng([seed, int(e)]).permutation(len(data)), [epoch], tf.int64
        )
        order.set_shape([len(data)])
        batches = tf.data.Dataset.from_tensor_slices(order).batch(batch_size).enumerate()
        return batches.map(lambda step, positions: (tf.stack([epoch, step]), positions))

    def load(place: tf.Tensor, positions: tf.Tensor) -> tuple:
        return (place, *take(data, positions))

    def finish(place: tf.Tensor, images: tf.Tensor, targets: tf.Tensor) -> tuple:
        images, targets = augment(images, targets, options, seed=tf.stack([seed * 1000003 + place[0], place[1]]))
        if class_weights is None:
            return images, targets
        return images, targets, tf.linalg.matvec(targets, per_class)

    batches = tf.data.Dataset.range(first_epoch, last_epoch).flat_map(one_epoch)
    return batches.map(load).map(finish, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)


def evaluation_batches(data: ImageSet, batch_size: int) -> tf.data.Dataset:
    """Every picture of a split once, in order, untouched: `(images, targets)` as in `training_batches`."""
    positions = tf.data.Dataset.range(len(data)).batch(batch_size)

    def load(chosen: tf.Tensor) -> tuple:
        images, targets = take(data, chosen)
        return tf.cast(images, tf.float32), targets

    return positions.map(load).prefetch(2)


def take(data: ImageSet, positions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`data.take` inside a `tf.data` graph, with static shapes."""
    images, targets = tf.numpy_function(data.take, [positions], (tf.uint8, tf.float32))
    images.set_shape([None, *data.images.shape[1:]])
    targets.set_shape([None, data.targets.shape[1]])
    return images, targets
