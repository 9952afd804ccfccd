"""Run each image once through what stays frozen, and train on what comes out.

A frozen layer gives the same output for the same pixels, so running it again in every epoch is waste. With augmentation
a few views of each training image are kept, and the epochs take turns through them.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkeras.config.train import TrainingOptions
from tlkeras.data.augment import augment
from tlkeras.data.loading import available_cores, memory_budget
from tlkeras.data.own_augment import OwnAugmentation
from tlkeras.data.pipeline import (
    SplitData,
    add_sample_weights,
    batch_indices,
    epoch_order,
    numpy_batches,
    steps_per_epoch,
    stream,
)
from tlkeras.errors import UserError
from tlkeras.features.engines import BATCH_SIZE, Engine, unwrap_single
from tlkeras.io.arrays import FileArray
from tlkeras.progress import progress

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class Features:
    """What came out of some tensors of a model: for each an array `(views * N, …)`, view by view; targets `(N, K)`."""

    arrays: Sequence[np.ndarray | FileArray]
    targets: np.ndarray
    views: int  # of each example
    plain: bool = True  # whether the first view is of the examples as they are

    def __len__(self) -> int:
        return len(self.targets)

    def only(self, tensors: slice) -> "Features":
        """Return the features of some of the tensors."""
        return replace(self, arrays=self.arrays[tensors])

    def training_batches(
        self, *, batch_size: int, first_epoch: int, last_epoch: int, seed: int, class_weights: np.ndarray | None = None,
        drawn: np.ndarray | None = None,
    ) -> tf.data.Dataset:  # fmt: skip
        """Return what `training_batches` of images does, in the same order; epochs take turns through the views."""
        drawn = np.arange(len(self)) if drawn is None else drawn
        steps = steps_per_epoch(len(drawn), batch_size)

        def choose(step: np.int64) -> tuple[int, np.ndarray]:
            epoch, index = divmod(int(step), steps)
            return epoch % self.views, drawn[batch_indices(epoch_order(seed, epoch, len(drawn)), index, batch_size)]

        batches = self._batches(tf.data.Dataset.range(first_epoch * steps, last_epoch * steps), choose)
        return add_sample_weights(batches, class_weights)

    def evaluation_batches(self, batch_size: int) -> tf.data.Dataset:
        """Return every example once, in order, first view."""
        return self._batches(tf.data.Dataset.range(len(self)).batch(batch_size), lambda chosen: (0, chosen))

    def _batches(self, steps: tf.data.Dataset, choose: Callable) -> tf.data.Dataset:
        """Return features, one float32 array `(B, …)` or a tuple of such, and targets `(B, K)` of what is chosen."""

        def make(step: np.ndarray) -> tuple[np.ndarray, ...]:
            view, chosen = choose(step)
            rows = view * len(self) + chosen
            return *(np.asarray(array[rows], "float32") for array in self.arrays), self.targets[chosen]

        shapes = [array.shape[1:] for array in (*self.arrays, self.targets)]
        batches = numpy_batches(steps, make, [(tf.float32, shape) for shape in shapes])
        return batches.map(lambda *parts: (unwrap_single(parts[:-1]), parts[-1]))


@dataclass(frozen=True)
class ExtractionJob:
    """A split whose features are wanted: of each example as it is, or of several views, augmented but for the first."""

    data: SplitData
    options: TrainingOptions
    augmented: bool
    own_augment: OwnAugmentation | None = None
    start: tuple[int, int] = (0, 0)  # the view and the batch of a split at which this part of it starts

    # [part: feature-cache]
    @property
    def cores(self) -> int:
        """Return how many cores compute each batch."""
        return available_cores()

    # [/part]
    @property
    def views(self) -> int:
        """Return how often each example goes through."""
        return self.options.views if self.augmented else 1

    @property
    def plain(self) -> bool:
        """Return whether the first view is of the examples as they are: it serves evaluation, too."""
        return not self.augmented or self.views > 1

    def shapes(self, model: keras.Model) -> list[list[int]]:
        """Return the shape of each array of features."""
        return [[self.views * len(self.data), *tensor.shape[1:]] for tensor in model.outputs]

    def fill(
        self, engine: Engine, arrays: Sequence[np.ndarray | FileArray], title: str | None = None,
        first: int = 0, keep: Callable[[int], None] = lambda steps: None,
    ) -> None:  # fmt: skip
        """Compute the features into arrays; the next batch is augmented while one is computed.

        The first steps of `batches` may be there already; `keep` is told after every step how many are there.
        """
        view, index = divmod(first, math.ceil(len(self.data) / BATCH_SIZE))
        done, count = view * len(self.data) + index * BATCH_SIZE, self.views * len(self.data)
        with progress(count, title or f"Computing features of {self.data.modality.plural}") as bar:
            bar.update(done)
            for step, inputs in enumerate(self.batches(first), start=first + 1):
                parts = engine([inputs])
                check_finite(parts, self.data)
                for array, part in zip(arrays, parts, strict=True):
                    array[done : done + len(inputs)] = part
                done += len(inputs)
                keep(step)
                bar.update(len(inputs))

    def batches(self, first: int = 0) -> Iterator[np.ndarray]:
        """Yield all examples as they go through the frozen part, such as float32 `(B, S, S, 3)`, view by view.

        The first steps are left out; the others are as they would be after them.
        """
        chunks = np.split(np.arange(len(self.data)), range(BATCH_SIZE, len(self.data), BATCH_SIZE))
        threads = ThreadPoolExecutor(available_cores())

        def make(step: np.int64) -> tuple[np.ndarray, np.ndarray]:
            view, index = divmod(int(step), len(chunks))
            inputs, targets = self.data.take(chunks[index])
            if not self.augmented or (self.plain and not view):
                return inputs, targets
            if self.own_augment and not index:
                self.own_augment.start_epoch(self.options.seed, view)
            rng = np.random.default_rng([self.options.seed, self.start[0] + view, self.start[1] + index])
            return augment(inputs, targets, self.options, rng, threads, self.own_augment)

        for inputs, _ in stream(tf.data.Dataset.range(first, self.views * len(chunks)), make, self.data):
            yield inputs.numpy()


def check_finite(outputs: Sequence[np.ndarray], data: SplitData) -> None:
    """Refuse features or outputs that are infinite or no number."""
    if not all(np.isfinite(part).all() for part in outputs):
        raise UserError(
            f"The backbone gives no finite features for {data.modality.plural} of shape {data.inputs.shape[1:]}. "
            f"{data.modality.finite_hint}"
        )


def is_augmented(train: SplitData, options: TrainingOptions, own_augment: OwnAugmentation | None) -> bool:
    """Return whether the views of a training example differ."""
    return train.modality.augmentable and (options.changes_images() or own_augment is not None)


def get_features(
    model: keras.Model, name: str, train: SplitData, validation: SplitData, options: TrainingOptions,
    engine: Callable[[], Engine], own_augment: OwnAugmentation | None = None,
) -> tuple[Features, Features] | None:  # fmt: skip
    """Return what `below` of `split_model` gives for both splits; None, and a note, where there is no room for it.

    `train` has `options.views` views of each example, augmented but for the first of several; one where nothing is
    augmented. `validation` is as it is. They are in memory where they fit, else on disk; a line is logged that says
    where, and why.
    """
    start = time.perf_counter()
    augmented = is_augmented(train, options, own_augment)
    jobs = [ExtractionJob(train, options, augmented, own_augment), ExtractionJob(validation, options, False)]
    shapes = [shape for job in jobs for shape in job.shapes(model)]
    nbytes = sum(int(np.prod(shape)) for shape in shapes) * np.dtype(options.feature_dtype).itemsize
    memory = memory_budget(options.memory_gb)
    fits, allowed = nbytes <= memory, f"--memory-gb ({memory / 1e9:.1f}) allows"
    make: Callable[[], Any] = engine
    # [part: cluster]
    if cluster := getattr(options, "cluster", None):
        from tlkeras.features.shards import ShardedJob

        jobs, make = [ShardedJob.of(job, cluster, model) for job in jobs], lambda: None
    # [/part]
    kept: Any = None
    # [part: feature-cache]
    allowed = f"--memory-gb ({memory / 1e9:.1f}) and --cache-gb ({options.cache_gb:.1f}) allow"
    if options.cache_gb and not own_augment:
        from tlkeras.features.cache import open_cache

        kept = open_cache(model, name, options, nbytes)
    # [/part]
    if not (fits or kept):
        log.info("Note: features (%s) would take %.2f GB, more than %s, so they are computed anew in each epoch.",
                 name, nbytes / 1e9, allowed)  # fmt: skip
        return None
    found = []
    for job in jobs:
        arrays = kept and kept.read_or_fill(job, make, fits)
        if arrays is None:
            arrays = [np.empty(shape, options.feature_dtype) for shape in job.shapes(model)]
            job.fill(make(), arrays)
        found.append(Features(arrays, job.data.targets, job.views, job.plain))
    by = "" if options.engine == "tensorflow" else f" by {options.engine}"
    how = "read from the cache" if kept and kept.hits == len(jobs) else f"computed{by}"
    where = "" if fits else f", on disk, as more than {memory / 1e9:.1f} GB (--memory-gb)"
    note = ", cached" if kept and kept.written else ""
    seconds, megabytes, which = time.perf_counter() - start, f"{nbytes / 1e6:,.1f}", name.rpartition(", ")[2]
    log.info("Features (%s): %s in %.1f s, %s MB%s%s.", which, how, seconds, megabytes, where, note)
    return found[0], found[1]
