"""Open a run's folder, as far as that goes without TensorFlow."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from tlkeras.config import Task
from tlkeras.errors import UserError

MAX_MODEL_BYTES = 8_000_000_000  # the largest backbone of the table takes 1.4 GB


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
            members = archive.infolist()
    except Exception:  # of many kinds where an archive is damaged
        raise UserError(f"{path} is not a Keras model: {what}, and this is no archive, or a damaged one.") from None
    names = [PurePosixPath(member.filename.replace("\\", "/")) for member in members]
    if not {"config.json", "model.weights.h5"} <= set(map(str, names)):
        raise UserError(f"{path} is not a Keras model: {what}, and this one lacks them.")
    if any(name.is_absolute() or ".." in name.parts or ":" in name.parts[0] for name in names):
        raise UserError(f"{path} is not opened: it holds files that would be written outside of their folder.")
    if sum(member.file_size for member in members) > MAX_MODEL_BYTES:
        raise UserError(f"{path} is not opened: unpacked it is larger than {MAX_MODEL_BYTES / 1e9:.0f} GB.")
