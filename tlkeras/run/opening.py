"""Open a run's folder, as far as that goes without TensorFlow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tlkeras.archives import check_model_file
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
