"""Where features are kept, and whether they have to be computed at all."""

import functools
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from typing import Any

import keras
import numpy as np

from tlkeras.config.train import AugmentOptions, TrainingOptions
from tlkeras.data.augment import augment
from tlkeras.data.loading import available_cores, memory_budget
from tlkeras.data.pipeline import SplitData
from tlkeras.features.cache import FeatureCache
from tlkeras.features.engines import Engine, make_engine
from tlkeras.features.extract import Features, digest_code, digest_inputs, digest_model, extract
from tlkeras.io import cache_dir
from tlkeras.io.arrays import FileArray

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class ExtractionJob:
    """A split whose features are wanted.

    Attributes:
        data: the split.
        options: augmentation, count of views, and seed.
        augmented: whether the examples are augmented; else they go through once as they are.
    """

    data: SplitData
    options: TrainingOptions
    augmented: bool

    @property
    def views(self) -> int:
        """Return how often each example goes through."""
        return self.options.views if self.augmented else 1

    def shapes(self, model: keras.Model) -> list[list[int]]:
        """Return the shape of each array of features."""
        return [[self.views * len(self.data), *tensor.shape[1:]] for tensor in model.outputs]

    def key(self) -> dict[str, Any]:
        """Return what the features depend on, the model aside."""
        key = {"examples": len(self.data), "inputs": digest_inputs(self.data), "views": self.views}
        if self.augmented:
            names = [entry.name for entry in fields(AugmentOptions)]
            key |= {name: value for name, value in asdict(self.options).items() if name in [*names, "seed"]}
            key["code"] = digest_code(augment)  # so that whoever changes it does not get stale features
        return key

    def fill(self, engine: Engine, arrays: Sequence[np.ndarray | FileArray]) -> None:
        """Compute the features into arrays."""
        extract(engine, self.data, self.options if self.augmented else None, self.views, self.options.seed, arrays)


def get_features(
    model: keras.Model, name: str, train: SplitData, validation: SplitData, options: TrainingOptions
) -> tuple[Features, Features] | None:
    """Return the features of both splits: read from the cache, or computed in one pass and kept for the next run.

    They are in memory where they fit, else on disk; a line is logged that says where, and why.

    Args:
        model: `below` of `split_model`.
        name: what these features are, for those who list the cache.
        train: has `options.views` augmented views of each example, one where nothing is augmented.
        validation: as it is.
        options: augmentation, seed, budgets and engine.

    Returns:
        None where neither memory nor disk has room.
    """
    start = time.perf_counter()
    augmented = train.modality.augmentable and options.changes_images()
    jobs = [ExtractionJob(train, options, augmented), ExtractionJob(validation, options, False)]
    count = sum(int(np.prod(shape)) for job in jobs for shape in job.shapes(model))
    nbytes = count * np.dtype(options.feature_dtype).itemsize
    memory = memory_budget(options.memory_gb)
    fits = nbytes <= memory
    cache = FeatureCache(cache_dir(), int(options.cache_gb * 1e9))
    keep = cache.has_room(nbytes)
    if not (fits or keep):
        log.info(
            "Note: features (%s) would take %.2f GB, more than --memory-gb (%.1f) and --cache-gb (%.1f) allow, so "
            "they are computed anew in each epoch.", name, nbytes / 1e9, memory / 1e9, options.cache_gb,
        )  # fmt: skip
        return None
    engine = functools.cache(lambda: make_engine(model, options.engine))
    packages = sorted({"tensorflow", "keras", "pillow", options.engine.partition("_")[0]})
    common = {"features": name, "model": digest_model(model), "engine": options.engine, "cores": available_cores()}
    common |= {package: version(package) for package in packages}
    arrays, hits = [], 0
    for job in jobs:
        key, shapes = common | job.key(), job.shapes(model)
        found = cache.read(key, options.feature_dtype) if keep else None
        hits += found is not None
        if found is None:
            found = compute(job, engine, shapes, options.feature_dtype, (cache, key) if keep else None, fits)
        arrays.append([np.asarray(array[:]) for array in found] if fits else found)
    log.info(
        "Features (%s): %s in %.1f s, %s MB, %s%s.", name, "read from the cache" if hits == len(jobs) else "computed",
        time.perf_counter() - start, f"{nbytes / 1e6:,.1f}",
        "in memory" if fits else f"on disk, as more than {memory / 1e9:.1f} GB (--memory-gb)",
        f"; kept for the next run in {cache.folder}" if keep and hits < len(jobs) else "",
    )  # fmt: skip
    first, second = (Features(found, job.data.targets, job.views) for job, found in zip(jobs, arrays, strict=True))
    return first, second


def compute(
    job: ExtractionJob,
    engine: Callable[[], Engine],
    shapes: list[list[int]],
    dtype: str,
    entry: tuple[FeatureCache, dict[str, Any]] | None,
    fits_memory: bool,
) -> Sequence[np.ndarray | FileArray]:
    """Compute features: into an entry of the cache or, where it has no room for them, into memory.

    Args:
        job: the examples, and what is done to them.
        engine: makes what computes, when it is called.
        shapes: of the array for each tensor, examples first.
        dtype: "float32" or "float16".
        entry: the cache and the key; None where nothing is kept.
        fits_memory: whether memory will do if the disk cannot be written.

    Raises:
        OSError: the disk cannot be written, and memory will not do.
    """
    if entry:
        cache, key = entry
        try:
            with cache.writing(key, shapes, dtype) as files:
                job.fill(engine(), files)
            return files
        except OSError as error:
            if not fits_memory:
                raise
            log.info("Note: features are not kept for the next run; %s: %s.", cache.folder, error.strerror)
    arrays = [np.empty(shape, dtype) for shape in shapes]
    job.fill(engine(), arrays)
    return arrays
