"""Open a run's folder, as far as that goes without TensorFlow."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tlkeras.config import Task
from tlkeras.errors import UserError


@dataclass(frozen=True)
class Run:
    """What `evaluate.py` and `predict.py` need of a run's folder, without its model.

    Attributes:
        path: the folder.
        task: what the outputs mean.
        classes: names of the outputs; empty for regression.
        config: options of the run, with the image size and weights that were really used.
    """

    path: Path
    task: Task
    classes: list[str]
    config: dict[str, Any]


def open_run(path: str) -> Run:
    """Read a run's folder, as far as that goes without TensorFlow.

    Raises:
        UserError: when it is not one.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no run folder {folder}. Give a folder that scripts/train.py wrote.")
    try:
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        run = Run(folder, labels["task"], labels["classes"], config)
        config["image_size"] + config["batch_size"] + config["max_unreadable"] + len(config["data"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        raise UserError(
            f"{folder} is not a whole run folder: labels.json or config.yaml is missing or damaged. "
            "Give a folder that scripts/train.py wrote."
        ) from None
    check_model_file(folder / "model.keras")
    return run


def check_model_file(path: Path) -> None:
    """Refuse what cannot be a Keras model, as far as that can be told without TensorFlow.

    Raises:
        UserError: when the file is missing, is not a zip archive, or holds no configuration and weights.
    """
    if not path.is_file():
        raise UserError(f"There is no model file {path}.")
    what = "a .keras file is a zip archive with config.json and model.weights.h5 inside"
    try:
        with zipfile.ZipFile(path) as archive:
            whole = {"config.json", "model.weights.h5"} <= set(archive.namelist())
    except (zipfile.BadZipFile, EOFError):
        raise UserError(f"{path} is not a Keras model: {what}, and this is no archive, or a damaged one.") from None
    if not whole:
        raise UserError(f"{path} is not a Keras model: {what}, and this one lacks them.")
