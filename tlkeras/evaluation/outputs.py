"""What a trained model gives for every example: one pass through the backbone, and the head as often as wanted."""

from collections.abc import Mapping

import keras
import numpy as np

from tlkeras.config.train import TrainingOptions
from tlkeras.data.loading import memory_budget
from tlkeras.data.pipeline import SplitData
from tlkeras.features.engines import make_engine
from tlkeras.features.extract import ExtractionJob
from tlkeras.features.split_model import split_model
from tlkeras.io.arrays import FileArray

ROWS = 4096  # of features that go through the head at a time


def pooled_features(
    model: keras.Model, splits: Mapping[str, SplitData], options: TrainingOptions | None = None
) -> dict[str, np.ndarray | FileArray]:
    """Return pooled features, float32 `(N, C)`, of every example of each split, once, without augmentation.

    They are computed in float32 whatever engine trains; what is larger than the memory for it is in a temporary file.
    """
    options = options or TrainingOptions()
    below = split_model(model, 0).below
    engine = make_engine(below, options.engine.removesuffix("_bf16"))
    found: dict[str, np.ndarray | FileArray] = {}
    for name, split in splits.items():
        job = ExtractionJob(split, options, augmented=False)
        (shape,) = job.shapes(below)
        fits = 4 * int(np.prod(shape)) <= memory_budget(options.memory_gb)
        found[name] = np.empty(shape, "float32") if fits else FileArray.temporary(shape, "float32")
        job.fill(engine, [found[name]], f"Evaluating {name} {split.modality.plural}")
    return found


def head_outputs(model: keras.Model, features: Mapping[str, np.ndarray | FileArray]) -> dict[str, np.ndarray]:
    """Return the outputs `(N, K)` of each split for its pooled features `(N, C)`."""
    head = split_model(model, 0).head
    return {
        name: np.concatenate(
            [head(given[start : start + ROWS], training=False) for start in range(0, len(given), ROWS)]
        )
        for name, given in features.items()
    }
