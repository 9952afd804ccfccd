"""Write a model to a run's folder and prove that it comes back; load one from a run."""

from pathlib import Path

import keras
import numpy as np

from tlkeras.errors import UserError


def save_model(model: keras.Model, path: Path, images: np.ndarray) -> None:
    """Save, load again in plain Keras with safe mode on, and compare the outputs.

    Args:
        model: not compiled, so that the file holds no optimizer and needs nothing of tlkeras to be opened.
        path: ends in `.keras`.
        images: `(B, S, S, 3)` pixels to compare on.

    Raises:
        RuntimeError: when outputs differ by more than 1e-6.
    """
    model.save(path)
    before = model.predict_on_batch(images)
    after = keras.models.load_model(path, safe_mode=True).predict_on_batch(images)
    difference = float(np.abs(before - after).max())
    if not difference <= 1e-6 * max(1.0, float(np.abs(before).max())):
        raise RuntimeError(f"The saved model differs from the trained one by {difference:.2g}; it must not be used.")


def load_model(path: Path) -> keras.Model:
    """Load a `.keras` file in safe mode, not compiled.

    Raises:
        UserError: when it is not a model that Keras can open.
    """
    try:
        return keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} cannot be opened as a Keras model: {reason}") from None
