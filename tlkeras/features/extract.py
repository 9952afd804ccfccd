"""Run each picture once through what stays frozen, and keep what comes out.

A frozen layer gives the same output for the same pixels, so running it again in every epoch is waste. With augmentation
a few views of each training picture are kept, and the epochs take turns through them.
"""

import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tlkeras.config import AugmentOptions
from tlkeras.data.augment import augment
from tlkeras.data.pipeline import SplitData, stream
from tlkeras.data.loading import available_cores, content_bytes
from tlkeras.notebook import Counter
from tlkeras.errors import UserError
from tlkeras.features.engines import PASS_BATCH, Engine
from tlkeras.features.cache import ShardedArray


@dataclass(frozen=True)
class Features:
    """What came out of some tensors of a model.

    Attributes:
        arrays: for each tensor an array `(views * N, …)`, float32 or float16, in memory or on disk; view by view.
        targets: float32 `(N, K)`.
        views: how many there are of each picture.
    """

    arrays: Sequence[np.ndarray | ShardedArray]
    targets: np.ndarray
    views: int

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, view: int, positions: np.ndarray) -> list[np.ndarray]:
        """Features of some pictures in one view.

        Args:
            view: from 0.
            positions: integers `(m,)`, of pictures in their split.

        Returns:
            For each tensor float32 `(m, …)`.
        """
        return [np.asarray(array[view * len(self) + positions], "float32") for array in self.arrays]

    def only(self, places: slice) -> "Features":
        """The same of some of the tensors."""
        return Features(self.arrays[places], self.targets, self.views)


def compute(
    engine: Engine,
    data: SplitData,
    options: AugmentOptions | None,
    views: int,
    seed: int,
    arrays: Sequence[np.ndarray | ShardedArray],
) -> None:
    """One pass over the pictures for each view; the next batch is augmented while one is computed.

    Args:
        engine: from resized pixels to some tensors.
        data: the pictures.
        options: the augmentation; None for none.
        views: how many augmented views of each picture.
        seed: of the augmentation.
        arrays: take the outputs; for each tensor `(views * N, …)`.

    Raises:
        UserError: sounds are too short for the module.
    """
    done, counter = 0, Counter(f"Computing features of {data.form}", views * len(data))
    for images in view_batches(data, options, views, seed):
        parts = engine([images])
        check_finite(parts, data)
        for array, part in zip(arrays, parts, strict=True):
            array[done : done + len(images)] = part
        done += len(images)
        counter.step(len(images))
    counter.close()


def check_finite(outputs: Sequence[np.ndarray], data: SplitData) -> None:
    """Refuse what a module makes of sounds that are shorter than one of its frames: means of nothing.

    Args:
        outputs: of the module, or of layers behind it.
        data: the examples; nothing is said of others than sounds.

    Raises:
        UserError: not all of them are finite.
    """
    if data.form == "sounds" and not all(np.isfinite(part).all() for part in outputs):
        raise UserError(
            f"The module gives no features for sounds of {data.inputs.shape[1]:,} samples, or none that are numbers; "
            "give more --seconds."
        )


def view_batches(data: SplitData, options: AugmentOptions | None, views: int, seed: int) -> Iterator[np.ndarray]:
    """All pictures as they go through the frozen part, one view after the other.

    Args:
        data: the pictures.
        options: the augmentation; None for none.
        views: how often each picture goes through.
        seed: of the augmentation.

    Yields:
        Float32 pictures `(B, S, S, 3)`, 0–255.
    """
    chunks = np.split(np.arange(len(data)), range(PASS_BATCH, len(data), PASS_BATCH))
    threads = ThreadPoolExecutor(available_cores())

    def make(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        view, number = divmod(int(step), len(chunks))
        images, targets = data.take(chunks[number])
        if options is None:
            return images, targets
        return augment(images, targets, options, np.random.default_rng([seed, view, number]), threads)

    for images, _ in stream(tf.data.Dataset.range(views * len(chunks)), make, data):
        yield images.numpy()


def digest_inputs(data: SplitData) -> str:
    """SHA-256 of the examples of a split, in order."""
    result = hashlib.sha256(str(data.inputs.shape[1:]).encode())
    for start in range(0, len(data), PASS_BATCH):
        result.update(content_bytes(data.inputs[data.rows[start : start + PASS_BATCH]]))
    return result.hexdigest()


def digest_code(function: Callable) -> str:
    """SHA-256 of the file that a function is written in."""
    return hashlib.sha256(Path(inspect.getfile(function)).read_bytes()).hexdigest()


def digest_model(model: keras.Model) -> str:
    """SHA-256 of what a model computes: its layers without their names, its outputs' shapes, and its weights."""
    leaves = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    layers = [(type(layer).__name__, layer.get_config() | {"name": ""}) for layer in leaves]
    described = json.dumps([layers, [tensor.shape for tensor in model.outputs]], default=str)
    result = hashlib.sha256(described.encode())
    for value in model.get_weights():
        result.update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    return result.hexdigest()
