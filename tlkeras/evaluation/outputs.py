"""What a trained model gives for every example: one pass through the backbone, and the head as often as wanted."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import keras
import numpy as np

from tlkeras.config.train import TrainingOptions
from tlkeras.data.loading import memory_budget
from tlkeras.data.pipeline import SplitData
from tlkeras.features.engines import BATCH_SIZE, Engine, choose_engine, make_engine, unwrap_single
from tlkeras.features.extract import ExtractionJob, Features
from tlkeras.features.split_model import split_model
from tlkeras.training.phase import PhaseInputs

ROWS = 16384  # of features that go through the head at a time


@dataclass(frozen=True)
class LazyFeatures:
    """Pooled features, float32 `(N, C)`, of which rows are computed whenever they are asked for."""

    count: int
    compute: Callable[[np.ndarray], np.ndarray]  # from indices

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.compute(np.arange(self.count)[rows])


def pooled_features(
    model: keras.Model, splits: Mapping[str, SplitData], options: TrainingOptions | None = None,
    trained: PhaseInputs | None = None,
) -> dict[str, np.ndarray | LazyFeatures]:  # fmt: skip
    """Return pooled features, float32 `(N, C)`, of every example of each split, once, without augmentation.

    They are computed in float32 whatever engine trains. What `trained`, the inputs of the phase that was kept, knows
    already in float32 is not computed again. Those of a split that are larger than the memory for them are computed
    when they are asked for.
    """
    options = options or TrainingOptions()
    exact = options.feature_dtype == "float32" and not options.engine.endswith("_bf16")
    trained = trained if exact and trained and trained.below else None
    cached = {"train": trained.features, "validation": trained.validation_features} if trained else {}
    below = split_model(model, 0).below
    width = below.output_shape[-1]
    images = sum(len(split) for split in splits.values())
    engine = functools.cache(
        lambda: make_engine(below, choose_engine(model, options, images).engine.removesuffix("_bf16"))
    )
    run = partial(pool_inputs, trained) if trained else lambda inputs: engine()(inputs)
    found: dict[str, np.ndarray | LazyFeatures] = {}
    for name, split in splits.items():
        compute = partial(pool_examples, split, options, run, width, f"Evaluating {name} {split.modality.plural}")
        if trained and (given := cached.get(name)) and given.plain:
            compute = partial(pool_cached, trained, given)
        lazy = LazyFeatures(len(split), compute)
        found[name] = lazy[:] if 4 * len(split) * width <= memory_budget(options.memory_gb) else lazy
    return found


def pool_examples(
    split: SplitData, options: TrainingOptions, engine: Engine, width: int, title: str, rows: np.ndarray
) -> np.ndarray:
    """Return the pooled features that an engine computes from some examples of a split."""
    job = ExtractionJob(replace(split, rows=split.rows[rows], targets=split.targets[rows]), options, augmented=False)
    found = np.empty((len(rows), width), "float32")
    job.fill(engine, [found], title)
    return found


def pool_cached(trained: PhaseInputs, given: Features, rows: np.ndarray) -> np.ndarray:
    """Return the pooled features that follow from some of what a phase was trained on."""
    batches = (rows[start : start + BATCH_SIZE] for start in range(0, len(rows), BATCH_SIZE))
    return np.concatenate([pool_batch(trained, [array[batch] for array in given.arrays]) for batch in batches])


def pool_inputs(trained: PhaseInputs, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the pooled features of examples, by the engine that computed what a phase was trained on."""
    assert trained.below is not None
    return [pool_batch(trained, trained.below(inputs))]


def pool_batch(trained: PhaseInputs, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the pooled features that follow from a batch of what a phase was trained on."""
    return trained.above(unwrap_single(parts), training=False).numpy() if trained.above else parts[0]


def head_outputs(model: keras.Model, features: Mapping[str, np.ndarray | LazyFeatures]) -> dict[str, np.ndarray]:
    """Return the outputs `(N, K)` of each split for its pooled features `(N, C)`."""
    head = split_model(model, 0).head
    return {
        name: np.concatenate(
            [head(given[start : start + ROWS], training=False) for start in range(0, len(given), ROWS)]
        )
        for name, given in features.items()
    }
