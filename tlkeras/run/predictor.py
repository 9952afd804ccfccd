"""The model of a run or an artifact, ready for decoded examples, and what it takes for unsure."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tlkeras.errors import UserError
from tlkeras.evaluation.known import KnownFeatures, load_known
from tlkeras.export.artifact import Session, load_artifact, open_session
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
        far = np.zeros(len(outputs), bool)
        if self.known is not None and features is not None:
            far = self.known.distances(features) > self.known.threshold
        return (far | (outputs.max(axis=1) < (self.run.reject_threshold or 0.0))).tolist()


def load_predictor(run: Run) -> Predictor:
    """Load the model of a run or an artifact; of an artifact whose runtime needs no TensorFlow without it."""
    size, width, call = open_artifact(run) if run.artifact else open_model(run)
    batch = run.config["batch_size"]

    def outputs(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        parts = [call(inputs[start : start + batch]) for start in range(0, len(inputs), batch)]
        found = np.concatenate([np.zeros((0, size), "float32"), *(part for part, _ in parts)])
        features = [part for _, part in parts if part is not None]
        return found, np.concatenate([np.zeros((0, width), "float32"), *features]) if width else None

    return Predictor(run, outputs, load_known(run.path, width))


def open_model(run: Run) -> tuple[int, int, Session]:
    """Return how many outputs and features the model of a run has, and what runs it."""
    load_tensorflow()
    from tlkeras.models.introspect import num_features, with_features

    model = load_model(run.model_file, outputs=len(run.classes) or 1)
    size, width = model.output_shape[-1], num_features(model)
    full = with_features(model) if width else model

    def call(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        both = full.predict_on_batch(inputs)
        return both[:, :size], both[:, size:] if width else None

    return size, width, call


def open_artifact(run: Run) -> tuple[int, int, Session]:
    """Return the same of an artifact; refuse one that is not of the labels beside it."""
    info = load_artifact(run.path)
    size = next(iter(info.outputs.values()))
    if size != (len(run.classes) or 1):
        raise UserError(f"{run.path} has {size} outputs and labels.json names {len(run.classes)}. Export it again.")
    return size, info.num_features, open_session(run.path)
