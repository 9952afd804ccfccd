"""What a trained model gives for every example: one pass through the backbone, and the head as often as wanted."""

import functools
from collections.abc import Mapping, Sequence
from functools import partial

import keras
import numpy as np

from tlkeras.config.train import TrainingOptions
from tlkeras.data.loading import memory_budget
from tlkeras.data.pipeline import SplitData
from tlkeras.features.engines import BATCH_SIZE, make_engine, unwrap_single
from tlkeras.features.extract import ExtractionJob
from tlkeras.features.split_model import split_model
from tlkeras.io.arrays import FileArray
from tlkeras.training.phase import PhaseInputs

ROWS = 4096  # of features that go through the head at a time


def pooled_features(
    model: keras.Model, splits: Mapping[str, SplitData], options: TrainingOptions | None = None,
    trained: PhaseInputs | None = None,
) -> dict[str, np.ndarray | FileArray]:  # fmt: skip
    """Return pooled features, float32 `(N, C)`, of every example of each split, once, without augmentation.

    They are computed in float32 whatever engine trains; what is larger than the memory for it is in a temporary file.
    What `trained`, the inputs of the phase that was kept, knows already in float32 is not computed again.
    """
    options = options or TrainingOptions()
    exact = options.feature_dtype == "float32" and not options.engine.endswith("_bf16")
    trained = trained if exact and trained and trained.below else None
    known = cached_features(trained) if trained else {}
    below = split_model(model, 0).below
    engine = functools.cache(lambda: make_engine(below, options.engine.removesuffix("_bf16")))
    run = partial(compute, trained) if trained else lambda inputs: engine()(inputs)
    found: dict[str, np.ndarray | FileArray] = {}
    for name, split in splits.items():
        if name in known:
            found[name] = known[name]
            continue
        job = ExtractionJob(split, options, augmented=False)
        (shape,) = job.shapes(below)
        fits = 4 * int(np.prod(shape)) <= memory_budget(options.memory_gb)
        found[name] = np.empty(shape, "float32") if fits else FileArray.temporary(shape, "float32")
        job.fill(run, [found[name]], f"Evaluating {name} {split.modality.plural}")
    return found


def cached_features(trained: PhaseInputs) -> dict[str, np.ndarray]:
    """Return the pooled features of training and validation that follow from what a phase was trained on."""
    found = {}
    for name, given in (("train", trained.features), ("validation", trained.validation_features)):
        if given and given.plain:
            starts = range(0, len(given), BATCH_SIZE)
            parts = [[array[start : min(start + BATCH_SIZE, len(given))] for array in given.arrays] for start in starts]
            found[name] = np.concatenate([pooled(trained, part) for part in parts])
    return found


def compute(trained: PhaseInputs, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the pooled features of examples, by the engine that computed what the phase was trained on."""
    assert trained.below is not None
    return [pooled(trained, trained.below(inputs))]


def pooled(trained: PhaseInputs, parts: Sequence[np.ndarray]) -> np.ndarray:
    """Return the pooled features that follow from a batch of what a phase was trained on."""
    return trained.above(unwrap_single(parts), training=False).numpy() if trained.above else parts[0]


def head_outputs(model: keras.Model, features: Mapping[str, np.ndarray | FileArray]) -> dict[str, np.ndarray]:
    """Return the outputs `(N, K)` of each split for its pooled features `(N, C)`."""
    head = split_model(model, 0).head
    return {
        name: np.concatenate(
            [head(given[start : start + ROWS], training=False) for start in range(0, len(given), ROWS)]
        )
        for name, given in features.items()
    }
