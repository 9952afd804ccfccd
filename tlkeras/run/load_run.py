"""Load a run's folder, as far as that goes without TensorFlow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from tlkeras.backbones.registry import custom_layers
from tlkeras.config.fields import Task
from tlkeras.config.files import parse_options
from tlkeras.errors import UserError
from tlkeras.io.archives import check_model_file
from tlkeras.modalities.base import Modality, get_modality

MAX_TEXT_BYTES = 10_000_000


@dataclass(frozen=True)
class Run:
    """What `evaluate.py` and `predict.py` need of a run's folder, without its model.

    Attributes:
        path: the folder.
        task: what the outputs mean.
        classes: names of the outputs; empty for regression.
        config: options of the run, with what was really used.
        modality: what the model takes, ready to decode it.
    """

    path: Path
    task: Task
    classes: list[str]
    config: dict[str, Any]
    modality: Modality


def load_run(path: str | Path) -> Run:
    """Read a run's folder; runs of earlier versions, too.

    Raises:
        UserError: it is not one, or needs an optional package that is not installed.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no run folder {folder}. Give a folder that scripts/train.py wrote.")
    try:
        labels = json.loads(read_text(folder / "labels.json"))
        config = parse_options(read_text(folder / "config.yaml"))
        modality = get_modality(labels.get("modality", labels.get("form", "image"))).from_config(config)
        run = Run(folder, labels["task"], labels["classes"], config, modality)
        check_types(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        raise UserError(
            f"{folder} is not a complete run folder: labels.json or config.yaml is missing or damaged. "
            "Give a folder that scripts/train.py wrote."
        ) from None
    check_model_file(folder / "model.keras")
    custom_layers(folder / "model.keras")
    return run


def read_text(path: Path) -> str:
    """Read a file of a run, which may be untrusted.

    Raises:
        ValueError: it is larger than any that tlkeras writes, or no text.
    """
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError
    return path.read_text(encoding="utf-8")


def check_types(run: Run) -> None:
    """Refuse labels and options that are not what they should be, before anything is built from them.

    Raises:
        TypeError: they are not.
        KeyError: one of them is missing.
    """
    batch, config = run.config["batch_size"], run.config
    valid = (
        run.task in get_args(Task)
        and isinstance(run.classes, list)
        and all(isinstance(name, str) for name in run.classes)
        and isinstance(batch, int)
        and 1 <= batch <= 65536
        and isinstance(config["max_unreadable"], int | float)
        and isinstance(config["data"], str)
        and isinstance(config.get("data_dir"), str | None)
    )
    if not valid:
        raise TypeError
