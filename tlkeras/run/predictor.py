"""A run's model, ready for decoded examples, and what it takes for unsure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tlkeras.evaluation.known import KnownFeatures, find_unsure, load_known
from tlkeras.run.load_run import Run, load_model
from tlkeras.runtime import load_tensorflow


@dataclass(frozen=True)
class Predictor:
    """What predicts: outputs `(N, K)` and, where the model has them, pooled features `(N, C)` of decoded examples."""

    run: Run
    outputs: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]
    known: KnownFeatures | None  # how far features may be from those of the training, where that is known

    def unsure(self, outputs: np.ndarray, features: np.ndarray | None) -> list[bool | None]:
        """Return whether each is below the run's threshold, or unlike its training; None where nothing is known."""
        if self.known is None and self.run.reject_threshold is None:
            return [None] * len(outputs)
        return find_unsure(outputs, features, self.known, self.run.reject_threshold).tolist()


def load_predictor(run: Run) -> Predictor:
    """Load the model of a run."""
    load_tensorflow()
    from tlkeras.models.introspect import num_features, with_features

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    width, size, batch = num_features(model), len(run.classes) or 1, run.config["batch_size"]
    known = load_known(run.path, width)
    full = with_features(model) if width else model

    def outputs(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = [full.predict_on_batch(inputs[start : start + batch]) for start in range(0, len(inputs), batch)]
        both = np.concatenate([np.zeros((0, size + width), "float32"), *parts])
        return both[:, :size], both[:, size:] if width else None

    return Predictor(run, outputs, known)
