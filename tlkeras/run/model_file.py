"""Write a model to a run's folder and prove that it comes back; load one from a run."""

from pathlib import Path

import keras
import numpy as np

import tlkeras.hub.layer  # noqa: F401 (a model may hold a hub module, which Keras must know)
from tlkeras.errors import UserError
from tlkeras.hub.encoders import check_installed, holds_tokenizer


def save_model(model: keras.Model, path: Path, inputs: np.ndarray) -> None:
    """Save, load again by Keras with safe mode on, and compare the outputs.

    Args:
        model: not compiled, so that the file holds no optimizer; to be opened it needs nothing of tlkeras,
            unless its backbone is a hub module or an encoder.
        path: ends in `.keras`.
        inputs: decoded examples to compare on, such as `(B, S, S, 3)` pixels.

    Raises:
        RuntimeError: when outputs differ by more than 1e-6.
    """
    model.save(path)
    before = model.predict_on_batch(inputs)
    after = keras.models.load_model(path, safe_mode=True).predict_on_batch(inputs)
    difference = float(np.abs(before - after).max())
    if not difference <= 1e-6 * max(1.0, float(np.abs(before).max())):
        raise RuntimeError(f"The saved model differs from the trained one by {difference:.2g}; it must not be used.")


def load_model(path: Path, outputs: int | None = None) -> keras.Model:
    """Load a `.keras` file in safe mode, not compiled.

    Args:
        path: the file.
        outputs: how many outputs it must have, when given.

    Raises:
        UserError: when it is not a model that Keras can open, needs KerasHub, which is missing, or has other outputs.
    """
    if holds_tokenizer(path):
        check_installed()
        import tlkeras.hub.tokens  # noqa: F401 (Keras must know it)
    try:
        model = keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} cannot be opened as a Keras model: {reason.rstrip('.')}.") from None
    if outputs is not None and model.output_shape != (None, outputs):
        raise UserError(
            f"{path} gives outputs of shape {model.output_shape} and labels.json beside it names {outputs} of them. "
            "They are not of one run; put the run's own files back."
        )
    return model
