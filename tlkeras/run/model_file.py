"""Write a model to a run's folder and prove that it loads; load one from a run."""

import csv
import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkeras.backbones.registry import import_custom_layers
from tlkeras.data.prepare import PreparedData
from tlkeras.data.splits import save_split
from tlkeras.errors import UserError
from tlkeras.run.artifacts import write_json, write_yaml
from tlkeras.run.folder import MODEL


def save_run(model: keras.Model, config: Any, data: PreparedData, inputs: np.ndarray, folder: Path) -> None:
    """Write all that `evaluate.py`, `predict.py` and `summary.py` need.

    Args:
        model: trained, not compiled.
        config: all options, with what was really used.
        data: what it was trained on.
        inputs: decoded examples to compare the saved model on, such as `(B, S, S, 3)` pixels.
        folder: of the run.

    Raises:
        RuntimeError: the saved model gives other outputs.
    """
    save_model(model, folder / MODEL, inputs)
    write_json(folder / "labels.json", {"task": data.task, "classes": data.classes, "modality": data.modality.name})
    write_yaml(folder / "config.yaml", dataclasses.asdict(config))
    save_split(folder / "split.csv", data.examples, data.splits)
    if data.unreadable:
        with (folder / "unreadable.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow(["path", "reason"])
            csv.writer(file).writerows((example.name, reason) for example, reason in data.unreadable)


def save_model(model: keras.Model, path: Path, inputs: np.ndarray) -> None:
    """Save, load again by Keras with safe mode on, and compare the outputs.

    Args:
        model: not compiled, so that the file holds no optimizer; it opens without tlkeras, unless its
            backbone is that of an extra.
        path: ends in `.keras`.
        inputs: decoded examples to compare on, such as `(B, S, S, 3)` pixels.

    Raises:
        RuntimeError: outputs differ by more than 1e-6.
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
        UserError: it is not a model that Keras can open, needs an optional package, or has other outputs.
    """
    import_custom_layers(path)
    try:
        model = keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path} cannot be opened as a Keras model: {reason.rstrip('.')}.") from None
    if outputs is not None and model.output_shape != (None, outputs):
        raise UserError(
            f"{path} has outputs of shape {model.output_shape} and labels.json beside it names {outputs} of them. "
            "They are not of one run; restore the run's own files."
        )
    return model
