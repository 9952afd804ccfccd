"""Open a run's folder, as far as that goes without TensorFlow."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from tlkeras.io.archives import check_model_file
from tlkeras.config import Task
from tlkeras.modalities.base import Form, pictures, sounds, texts
from tlkeras.errors import UserError
from tlkeras.extras.kerashub.presets import check_installed, holds_tokenizer

MAX_TEXT_BYTES = 10_000_000


@dataclass(frozen=True)
class Run:
    """What `evaluate.py` and `predict.py` need of a run's folder, without its model.

    Attributes:
        path: the folder.
        task: what the outputs mean.
        classes: names of the outputs; empty for regression.
        config: options of the run, with the image size and weights that were really used.
        form: what the model takes, ready to decode it.
    """

    path: Path
    task: Task
    classes: list[str]
    config: dict[str, Any]
    form: Form


def load_run(path: str | Path) -> Run:
    """Read a run's folder, as far as that goes without TensorFlow.

    Raises:
        UserError: when it is not one, or needs KerasHub, which is missing.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no run folder {folder}. Give a folder that scripts/train.py wrote.")
    try:
        labels = json.loads(read_text(folder / "labels.json"))
        config = yaml.safe_load(read_text(folder / "config.yaml"))
        run = Run(folder, labels["task"], labels["classes"], config, form_of(labels, config))
        check_types(run)
    except (OSError, ValueError, KeyError, TypeError, RecursionError, yaml.YAMLError):
        raise UserError(
            f"{folder} is not a whole run folder: labels.json or config.yaml is missing or damaged. "
            "Give a folder that scripts/train.py wrote."
        ) from None
    check_model_file(folder / "model.keras")
    if holds_tokenizer(folder / "model.keras"):
        check_installed()
    return run


def form_of(labels: dict[str, Any], config: dict[str, Any]) -> Form:
    """What the run's model takes; runs from before there were others than pictures do not say it.

    Raises:
        TypeError: it is not known, or its size is none.
        KeyError: the size is missing.
    """
    form = labels.get("form", "pictures")
    if form == "texts":
        return texts()
    if form == "sounds":
        seconds, rate = config["seconds"], config["sample_rate"]
        if not (isinstance(seconds, float | int) and 0 < seconds <= 600 and isinstance(rate, int) and 0 < rate < 10**6):
            raise TypeError
        return sounds(round(seconds * rate), rate)
    size = config["image_size"]
    if form != "pictures" or not isinstance(size, int) or not 1 <= size <= 4096:
        raise TypeError
    return pictures(size)


def read_text(path: Path) -> str:
    """A file of a run, which may be a stranger's.

    Raises:
        ValueError: it is larger than any that tlkeras writes, or no text.
    """
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError
    return path.read_text(encoding="utf-8")


def check_types(run: Run) -> None:
    """Look whether labels and options are what they should be, before anything is built from them.

    Raises:
        TypeError: they are not.
        KeyError: one of them is missing.
    """
    batch, config = run.config["batch_size"], run.config
    whole = (
        run.task in get_args(Task)
        and isinstance(run.classes, list)
        and all(isinstance(name, str) for name in run.classes)
        and isinstance(batch, int)
        and 1 <= batch <= 65536
        and isinstance(config["max_unreadable"], int | float)
        and isinstance(config["data"], str)
        and isinstance(config.get("data_dir"), str | None)
    )
    if not whole:
        raise TypeError
