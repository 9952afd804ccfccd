"""The model of a run or an artifact, ready for decoded examples, and what it takes for unsure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tlkeras.evaluation.known import KnownFeatures, find_unsure, load_known
from tlkeras.run.load_run import Run, load_model
from tlkeras.runtime import load_tensorflow

Outputs = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class Predictor:
    """What predicts: outputs `(N, K)` and, where the model has them, pooled features `(N, C)` of decoded examples."""

    run: Run
    outputs: Outputs
    known: KnownFeatures | None  # how far features may be from those of the training, where that is known

    def unsure(self, outputs: np.ndarray, features: np.ndarray | None) -> list[bool | None]:
        """Return whether each is below the run's threshold, or unlike its training; None where nothing is known."""
        if self.known is None and self.run.reject_threshold is None:
            return [None] * len(outputs)
        return find_unsure(outputs, features, self.known, self.run.reject_threshold).tolist()


def load_predictor(run: Run) -> Predictor:
    """Load the model of a run or an artifact; of an artifact whose runtime needs no TensorFlow without it."""
    opened = open_model
    # [part: export]
    if run.artifact:
        from tlkeras.run.open_artifact import open_artifact as opened
    # [/part]
    size, width, call = opened(run)
    batch = run.config["batch_size"]

    def outputs(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = [call(inputs[start : start + batch]) for start in range(0, len(inputs), batch)]
        found = np.concatenate([np.zeros((0, size), "float32"), *(part for part, _ in parts)])
        features = [part for _, part in parts if part is not None]
        return found, np.concatenate([np.zeros((0, width), "float32"), *features]) if width else None

    return Predictor(run, outputs, load_known(run.path, width))


def open_model(run: Run) -> tuple[int, int, Outputs]:
    """Return how many outputs and features the model of a run has, and what computes them."""
    load_tensorflow()
    from tlkeras.models.introspect import num_features, with_features

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    size, width = model.output_shape[-1], num_features(model)
    full = with_features(model) if width else model

    def call(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        both = full.predict_on_batch(inputs)
        return both[:, :size], both[:, size:] if width else None

    return size, width, call
