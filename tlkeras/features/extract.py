"""Run each image once through what stays frozen, and keep what comes out.

A frozen layer gives the same output for the same pixels, so running it again in every epoch is waste. With augmentation
a few views of each training image are kept, and the epochs take turns through them.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from tlkeras.config.train import AugmentOptions
from tlkeras.data.augment import augment
from tlkeras.data.loading import available_cores
from tlkeras.data.pipeline import SplitData, stream
from tlkeras.errors import UserError
from tlkeras.features.engines import BATCH_SIZE, Engine
from tlkeras.io.arrays import FileArray
from tlkeras.io.hashing import array_digest, file_hash, json_hash, stream_hash
from tlkeras.models.keras_private import flatten_layers
from tlkeras.progress import progress


@dataclass(frozen=True)
class Features:
    """What came out of some tensors of a model.

    Attributes:
        arrays: for each tensor an array `(views * N, …)`, float32 or float16, in memory or on disk; view by view.
        targets: float32 `(N, K)`.
        views: how many there are of each example.
    """

    arrays: Sequence[np.ndarray | FileArray]
    targets: np.ndarray
    views: int

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, view: int, indices: np.ndarray) -> list[np.ndarray]:
        """Return the features of examples at some indices `(m,)` in one view: for each tensor float32 `(m, …)`."""
        return [np.asarray(array[view * len(self) + indices], "float32") for array in self.arrays]

    def only(self, tensors: slice) -> "Features":
        """Return the features of some of the tensors."""
        return Features(self.arrays[tensors], self.targets, self.views)


def extract(
    engine: Engine,
    data: SplitData,
    options: AugmentOptions | None,
    views: int,
    seed: int,
    arrays: Sequence[np.ndarray | FileArray],
) -> None:
    """Run one pass over the examples for each view; the next batch is augmented while one is computed.

    Args:
        engine: from decoded examples to some tensors.
        data: the examples.
        options: the augmentation; None for none.
        views: how many augmented views of each example.
        seed: of the augmentation.
        arrays: take the outputs; for each tensor `(views * N, …)`.

    Raises:
        UserError: features are not finite.
    """
    done = 0
    with progress(views * len(data), f"Computing features of {data.modality.plural}") as bar:
        for inputs in view_batches(data, options, views, seed):
            parts = engine([inputs])
            check_finite(parts, data)
            for array, part in zip(arrays, parts, strict=True):
                array[done : done + len(inputs)] = part
            done += len(inputs)
            bar.update(len(inputs))


def check_finite(outputs: Sequence[np.ndarray], data: SplitData) -> None:
    """Refuse features or outputs that are infinite or no number.

    Raises:
        UserError: with what to do.
    """
    if not all(np.isfinite(part).all() for part in outputs):
        raise UserError(
            f"The backbone gives no finite features for {data.modality.plural} of shape {data.inputs.shape[1:]}. "
            f"{data.modality.finite_hint}"
        )


def view_batches(data: SplitData, options: AugmentOptions | None, views: int, seed: int) -> Iterator[np.ndarray]:
    """Yield all examples as they go through the frozen part, such as float32 `(B, S, S, 3)`, view by view."""
    chunks = np.split(np.arange(len(data)), range(BATCH_SIZE, len(data), BATCH_SIZE))
    threads = ThreadPoolExecutor(available_cores())

    def make(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
        view, index = divmod(int(step), len(chunks))
        inputs, targets = data.take(chunks[index])
        if options is None:
            return inputs, targets
        return augment(inputs, targets, options, np.random.default_rng([seed, view, index]), threads)

    for inputs, _ in stream(tf.data.Dataset.range(views * len(chunks)), make, data):
        yield inputs.numpy()


def digest_inputs(data: SplitData) -> str:
    """Return the hash of the examples of a split, in order."""
    chunks = (data.inputs[data.rows[start : start + BATCH_SIZE]] for start in range(0, len(data), BATCH_SIZE))
    return stream_hash([str(data.inputs.shape[1:])], chunks)


def digest_code(function: Callable) -> str:
    """Return the hash of the file that a function is written in."""
    return file_hash(Path(inspect.getfile(function)))


def digest_model(model: keras.Model) -> str:
    """Return the hash of what a model computes: its layers without their names, its outputs' shapes, its weights."""
    leaves = [layer for layer in flatten_layers(model) if not isinstance(layer, keras.Model)]
    layers = [(type(layer).__name__, layer.get_config() | {"name": ""}) for layer in leaves]
    described = json_hash([layers, [tensor.shape for tensor in model.outputs]])
    return array_digest(model.get_weights(), described)
