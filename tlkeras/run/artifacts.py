"""The files of a run: model, labels, options, split, metrics, history, versions."""

import csv
import dataclasses
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from tlkeras import __version__
from tlkeras.config.files import GIVEN
from tlkeras.data.prepare import PreparedData
from tlkeras.data.splits import save_split
from tlkeras.errors import UserError

if TYPE_CHECKING:
    import keras

MODEL = "model.keras"


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Write a mapping as YAML, in its own order."""
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write values as indented JSON."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV, such as the epochs of a training."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def versions() -> dict[str, str]:
    """Return the versions of everything that a training's metrics depend on."""
    packages = ["tensorflow", "keras", "numpy", "pillow", "scikit-learn"]
    own = {"tlkeras": __version__, "python": platform.python_version()}
    return own | {name: version(name) for name in packages}


def save_run(
    model: "keras.Model", config: Any, data: PreparedData, inputs: np.ndarray, folder: Path, given: dict[str, str]
) -> None:
    """Write all that `evaluate.py` and `predict.py` need; the saved model is compared on inputs `(B, …)`, decoded."""
    save_model(model, folder / MODEL, inputs)
    write_json(folder / "labels.json", {"task": data.task, "classes": data.classes, "modality": data.modality.name})
    write_yaml(folder / "config.yaml", dataclasses.asdict(config) | ({GIVEN: given} if given else {}))
    save_split(folder / "split.csv", data.examples, data.splits, data.digests)
    write_json(folder / "findings.json", [dataclasses.asdict(finding) for finding in data.findings])
    if data.unreadable:
        rows = [{"path": example.name, "reason": reason} for example, reason in data.unreadable]
        write_table(folder / "unreadable.csv", rows)


def save_model(model: "keras.Model", path: Path, inputs: np.ndarray) -> None:
    """Save a model as `.keras`, load it again with safe mode on, and fail where its outputs differ.

    It must not be compiled, so that the file holds no optimizer. The file opens where this package is not installed,
    unless its backbone is that of an extra.
    """
    import keras

    model.save(path)
    loaded = keras.models.load_model(path, safe_mode=True)
    before, after = (np.asarray(each(keras.ops.convert_to_tensor(inputs), training=False)) for each in (model, loaded))
    difference = float(np.abs(before - after).max())
    if not difference <= 1e-6 * max(1.0, float(np.abs(before).max())):
        raise RuntimeError(f"The saved model differs from the trained one by {difference:.2g}; it must not be used.")


def check_reload(model: "keras.Model") -> None:
    """Refuse a model that Keras could not open again once it is saved, before it is trained."""
    import keras

    try:
        keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(model), safe_mode=True)
    except Exception as error:  # Keras raises errors of many kinds here
        innermost = str(error).rpartition("Exception encountered: ")[2].strip() or type(error).__name__
        reason = innermost.partition("\n")[0].partition(". ")[0]
        raise UserError(
            f"The model could not be opened again once it is saved: {reason[:200]}. Give layers of Keras, or decorate "
            "your own classes and functions with @keras.saving.register_keras_serializable()."
        ) from error
