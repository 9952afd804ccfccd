"""Write a model to a run's folder and prove that it comes back; load one from a run."""

import dataclasses
from pathlib import Path

import keras
import numpy as np

import tlkeras.extras.hub.layer  # noqa: F401 (a model may hold a hub module, which Keras must know)
from tlkeras.config import PretrainConfig, TrainConfig
from tlkeras.data.prepare import PreparedData, write_unreadable
from tlkeras.data.splits import save_split
from tlkeras.errors import UserError
from tlkeras.extras.kerashub.presets import check_installed, holds_tokenizer
from tlkeras.run.folder import MODEL
from tlkeras.run.artifacts import write_json, write_yaml


def save_run(
    model: keras.Model, config: TrainConfig | PretrainConfig, data: PreparedData, inputs: np.ndarray, folder: Path
) -> None:
    """Write all that `evaluate.py`, `predict.py` and `summary.py` need.

    Args:
        model: trained, not compiled.
        config: all options, with what was really used.
        data: what it learned from.
        inputs: decoded examples to compare the saved model on, such as `(B, S, S, 3)` pixels.
        folder: of the run.

    Raises:
        RuntimeError: when the saved model gives other outputs.
    """
    save_model(model, folder / MODEL, inputs)
    write_json(folder / "labels.json", {"task": data.task, "classes": data.classes, "form": data.form.name})
    write_yaml(folder / "config.yaml", dataclasses.asdict(config))
    save_split(folder / "split.csv", data.examples, data.splits)
    if data.unreadable:
        write_unreadable(folder / "unreadable.csv", data.unreadable)


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
        import tlkeras.extras.kerashub.tokens  # noqa: F401 (Keras must know it)
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
