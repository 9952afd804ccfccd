"""The feature pass on the workers of a cluster: a shard is a few batches of a view, and features come in order."""

import importlib
import math
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkeras.cluster import connected, in_order
from tlkeras.config.train import TrainingOptions
from tlkeras.data.streaming import StreamedRows
from tlkeras.features.engines import BATCH_SIZE, Engine, make_engine
from tlkeras.features.extract import ExtractionJob
from tlkeras.io.arrays import FileArray
from tlkeras.models.keras_private import flatten_layers
from tlkeras.progress import progress
from tlkeras.runtime import load_tensorflow

SHARD = 4  # batches


@dataclass(frozen=True)
class ShardedJob(ExtractionJob):
    """A job whose batches are computed by the workers of a cluster, with the bits that as many cores here would give.

    Decoded examples are sent with the shard that needs them; those that are decoded when asked for are decoded there.
    """

    address: str = ""
    model: keras.Model | None = None
    worker_cores: int = 0

    @classmethod
    def of(cls, job: ExtractionJob, address: str, model: keras.Model) -> "ShardedJob":
        """Return a job for the cluster of an address."""
        with connected(address) as workers:
            given = {entry.name: getattr(job, entry.name) for entry in fields(job)}
            return cls(**given, address=address, model=model, worker_cores=workers.cores)

    @property
    def cores(self) -> int:
        return self.worker_cores

    def fill(
        self, engine: Any, arrays: Sequence[np.ndarray | FileArray], title: str | None = None,
        first: int = 0, keep: Callable[[int], None] = lambda steps: None,
    ) -> None:  # fmt: skip
        """Do what `ExtractionJob.fill` does; the workers have engines of their own."""
        view, index = divmod(first, math.ceil(len(self.data) / BATCH_SIZE))
        done, count = view * len(self.data) + index * BATCH_SIZE, self.views * len(self.data)
        modules = sorted({type(layer).__module__ for layer in flatten_layers(self.model)})
        load = partial(_load, pickle.dumps(self.model), self.options, modules)
        with (
            connected(self.address) as workers,
            progress(count, title or f"Computing features of {self.data.modality.plural}") as bar,
        ):
            bar.update(done)
            for found in in_order(load, _compute, self._parts(first), workers):
                rows = len(found[0])
                for array, part in zip(arrays, found, strict=True):
                    array[done : done + rows] = part
                done, first = done + rows, first + math.ceil(rows / BATCH_SIZE)
                keep(first)
                bar.update(rows)

    def _parts(self, first: int) -> Iterator[ExtractionJob]:
        """Yield the rest of the steps in shards, none of which has batches of two views."""
        batches = math.ceil(len(self.data) / BATCH_SIZE)
        while first < self.views * batches:
            view, index = divmod(first, batches)
            count = min(SHARD, batches - index)
            yield self._part(view, index, count)
            first += count

    def _part(self, view: int, index: int, count: int) -> ExtractionJob:
        """Return the job of some batches of one view, with what they need of the inputs."""
        some, inputs = slice(index * BATCH_SIZE, (index + count) * BATCH_SIZE), self.data.inputs
        rows = self.data.rows[some]
        inputs = inputs.only(rows.tolist()) if isinstance(inputs, StreamedRows) else inputs[rows]
        data = replace(self.data, inputs=inputs, rows=np.arange(len(rows)), targets=self.data.targets[some])
        augmented = self.augmented and not (self.plain and not view)
        return ExtractionJob(data, replace(self.options, views=1), augmented, start=(view, index))


def _load(model: bytes, options: TrainingOptions, modules: list[str]) -> tuple[keras.Model, Engine]:
    load_tensorflow(options.seed)
    for name in modules:
        if name.startswith("tlkeras."):  # whose layers are known to Keras once they are imported
            importlib.import_module(name)
    loaded = pickle.loads(model)
    return loaded, make_engine(loaded, options.engine)


def _compute(loaded: tuple[keras.Model, Engine], job: ExtractionJob) -> list[np.ndarray]:
    model, engine = loaded
    arrays = [np.empty(shape, job.options.feature_dtype) for shape in job.shapes(model)]
    job.fill(engine, arrays)
    return arrays
