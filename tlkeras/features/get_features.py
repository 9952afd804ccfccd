"""Where features lie, and whether they have to be computed at all."""

import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from tlkeras.config import AugmentOptions, TrainingOptions
from tlkeras.data.augment import augment
from tlkeras.data.pipeline import SplitData
from tlkeras.data.loading import available_cores, memory_budget
from tlkeras.features.extract import Features, compute, digest_code, digest_inputs, digest_model
from tlkeras.features.engines import Engine, make_engine
from tlkeras.features.cache import ShardedArray, FeatureCache
from tlkeras.io.paths import cache_dir

log = logging.getLogger("tlkeras")

Arrays = Sequence[np.ndarray | ShardedArray]


@dataclass(frozen=True)
class ExtractionJob:
    """Pictures, and what is done to them before they go through the frozen part.

    Attributes:
        data: a split.
        options: augmentation, count of views, and seed.
        augmented: whether the pictures are augmented; else they go through once as they are.
    """

    data: SplitData
    options: TrainingOptions
    augmented: bool

    @property
    def views(self) -> int:
        """How often each picture goes through."""
        return self.options.views if self.augmented else 1

    def shapes(self, model: keras.Model) -> list[list[int]]:
        """Of the features."""
        return [[self.views * len(self.data), *tensor.shape[1:]] for tensor in model.outputs]

    def key(self) -> dict[str, Any]:
        """What the features depend on, the model aside."""
        key = {"pictures": len(self.data), "pixels": digest_inputs(self.data), "views": self.views}
        if self.augmented:
            names = [entry.name for entry in fields(AugmentOptions)]
            key |= {name: value for name, value in asdict(self.options).items() if name in [*names, "seed"]}
            key["code"] = digest_code(augment)  # so that who changes it does not get the features of before
        return key

    def compute(self, engine: Engine, arrays: Arrays) -> None:
        """Fill the arrays."""
        compute(engine, self.data, self.options if self.augmented else None, self.views, self.options.seed, arrays)


def get_features(
    model: keras.Model, name: str, train: SplitData, validation: SplitData, options: TrainingOptions
) -> tuple[Features, Features] | None:
    """Features of both splits: read, or computed in one pass and kept for the next run.

    They lie in memory where they fit, else on disk; a line is logged that says where, and why.

    Args:
        model: `below` of a cut.
        name: what these features are, for those who list the cache.
        train: has `options.views` augmented views of each picture, one where nothing is augmented.
        validation: as it is.
        options: augmentation, seed, budgets and engine.

    Returns:
        None where neither memory nor disk has room.
    """
    start = time.perf_counter()
    augmented = train.form == "pictures" and options.changes_images()
    jobs = [ExtractionJob(train, options, augmented), ExtractionJob(validation, options, False)]
    count = sum(int(np.prod(shape)) for job in jobs for shape in job.shapes(model))
    nbytes = count * np.dtype(options.feature_dtype).itemsize
    memory = memory_budget(options.memory_gb)
    fits = nbytes <= memory
    store = FeatureCache(cache_dir(), int(options.cache_gb * 1e9))
    keep = store.has_room(nbytes)
    if not (fits or keep):
        log.info(
            "Note: features (%s) would take %.2f GB, more than --memory-gb (%.1f GB) and --cache-gb (%.1f GB) allow, so "
            "they are computed anew in each epoch.", name, nbytes / 1e9, memory / 1e9, options.cache_gb,
        )  # fmt: skip
        return None
    engine = functools.cache(lambda: make_engine(model, options.engine))
    about = {"features": name, "model": digest_model(model), "engine": options.engine, "cores": available_cores()}
    packages = ["tensorflow", "keras", "pillow", *(["openvino"] if options.engine != "tensorflow" else [])]
    about |= {package: version(package) for package in packages}
    arrays, hits = [], 0
    for job in jobs:
        key, shapes = about | job.key(), job.shapes(model)
        kept = store.read(key, options.feature_dtype) if keep else None
        hits += kept is not None
        if kept is None:
            kept = computed(job, engine, shapes, options.feature_dtype, (store, key) if keep else None, fits)
        arrays.append([in_memory(array) for array in kept] if fits else kept)
    log.info(
        "Features (%s): %s in %.1f s, %s MB, %s%s.", name, "read from the cache" if hits == len(jobs) else "computed",
        time.perf_counter() - start, f"{nbytes / 1e6:,.1f}",
        "in memory" if fits else f"on disk, as more than {memory / 1e9:.1f} GB (--memory-gb)",
        f"; kept for the next run in {store.folder}" if keep and hits < len(jobs) else "",
    )  # fmt: skip
    return tuple(Features(kept, job.data.targets, job.views) for job, kept in zip(jobs, arrays, strict=True))


def computed(
    job: ExtractionJob,
    engine: Callable[[], Engine],
    shapes: list[list[int]],
    dtype: str,
    place: tuple[FeatureCache, dict[str, Any]] | None,
    fits_memory: bool,
) -> Arrays:
    """Compute features: into an entry of the store or, where there is no place for them, into memory.

    Args:
        job: the pictures, and what is done to them.
        engine: makes what computes, when it is called.
        shapes: of the array for each tensor, pictures first.
        dtype: "float32" or "float16".
        place: the store, and the key of the entry; None where nothing is kept.
        fits_memory: whether memory will do if the disk cannot be written.

    Raises:
        OSError: the disk cannot be written, and memory will not do.
    """
    if place:
        store, key = place
        try:
            with store.writing(key, shapes, dtype) as arrays:
                job.compute(engine(), arrays)
            return arrays
        except OSError as error:
            if not fits_memory:
                raise
            log.info("Note: features are not kept for the next run; %s: %s.", store.folder, error.strerror)
    arrays = [np.empty(shape, dtype) for shape in shapes]
    job.compute(engine(), arrays)
    return arrays


def in_memory(array: np.ndarray | ShardedArray) -> np.ndarray:
    """All rows of an array `(N, …)`, as it is or read from its files."""
    return array if isinstance(array, np.ndarray) else array[np.arange(len(array))]
