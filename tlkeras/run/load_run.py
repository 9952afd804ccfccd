"""Load a run's folder, which may be untrusted; only its model needs TensorFlow."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import yaml

from tlkeras.backbones.registry import custom_layers, import_custom_layers
from tlkeras.config.fields import Task
from tlkeras.config.files import parse_options
from tlkeras.errors import UserError, first_sentence
from tlkeras.io.archives import check_model_file
from tlkeras.modalities.base import Modality, get_modality
from tlkeras.progress import passing

if TYPE_CHECKING:
    import keras

THRESHOLDS = "thresholds.json"
MAX_TEXT_BYTES = 10_000_000


@dataclass(frozen=True)
class Run:
    """What `evaluate.py` and `predict.py` need of a run's folder, without its model."""

    path: Path
    task: Task
    classes: list[str]  # names of the outputs; empty for regression
    config: dict[str, Any]  # options, with what was really used
    modality: Modality  # what the model takes, ready to decode it
    reject_threshold: float | None = None  # confidence below which a prediction is unsure, where that is known
    artifact: str | None = None  # the format, where the folder holds an exported model


def load_run(path: str | Path) -> Run:
    """Read the folder of a run, of earlier versions too, or of an artifact; refuse what is none.

    So are those refused that need a package that is not installed.
    """
    if not isinstance(path, str | os.PathLike):
        raise UserError(f"The run is {path!r}. Give the path of a folder that scripts/train.py wrote.")
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no run folder {folder}. {what_to_give(folder)}")
    artifact = None
    # [part: export]
    from tlkeras.export.artifact import is_artifact, load_artifact

    if is_artifact(folder):
        artifact = load_artifact(folder).format
    # [/part]
    try:
        labels = json.loads(read_text(folder / "labels.json"))
        config = parse_options(read_text(folder / "config.yaml"))
        modality = get_modality(labels.get("modality", labels.get("form", "image"))).from_config(config)
        threshold = read_threshold(folder / THRESHOLDS)
        run = Run(folder, labels["task"], labels["classes"], config, modality, threshold, artifact)
        check_types(run)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, yaml.YAMLError):
        raise UserError(
            f"{folder} is not a complete run folder: labels.json or config.yaml is missing, or one of its files is "
            f"damaged. {what_to_give(folder)}"
        ) from None
    if artifact is None:
        check_model_file(folder / "model.keras")
        custom_layers(folder / "model.keras")
    return run


def what_to_give(folder: Path) -> str:
    """Return what is given instead of a folder that is no run."""
    # [part: export]
    near = folder if folder.is_dir() else folder.parent
    if exported := sorted(file.parent.name for file in near.glob("*/artifact.json")):
        return f"{near} holds exported models: {', '.join(exported)}. Give one of these, or a run."
    # [/part]
    return "Give a folder that scripts/train.py wrote."


def load_trained_run(path: str | Path) -> Run:
    """Read a run's folder; refuse an artifact, which has no Keras model."""
    run = load_run(path)
    if run.artifact:
        raise UserError(f"{run.path} is an exported artifact ({run.artifact}), which only predicts. Give the run.")
    return run


def read_threshold(path: Path) -> float | None:
    """Return the threshold from which on predictions of one label are accepted; None in runs of earlier versions."""
    if not path.exists() or (reject := json.loads(read_text(path)).get("reject")) is None:
        return None
    return float(reject["threshold"])


def read_text(path: Path) -> str:
    """Read a file of a run; fail where it is larger than any that tlkeras writes."""
    if path.stat().st_size > MAX_TEXT_BYTES:
        raise ValueError
    return path.read_text(encoding="utf-8")


def check_types(run: Run) -> None:
    """Fail where labels and options are not what they should be, before anything is built from them."""
    config = {"data_dir": None} | run.config
    types: dict[str, Any] = {"batch_size": int, "max_unreadable": int | float, "data": str, "data_dir": str | None}
    valid = all(isinstance(config[name], hint) for name, hint in types.items()) and 1 <= config["batch_size"] <= 65536
    named = isinstance(run.classes, list) and all(isinstance(name, str) for name in run.classes)
    if not (valid and named and run.task in get_args(Task)):
        raise TypeError


def load_model(path: Path, outputs: int | None = None) -> "keras.Model":
    """Load a `.keras` file in safe mode, not compiled; refuse what Keras cannot open, or has other outputs."""
    import keras

    from tlkeras.models.inlining import inline_convolutions

    import_custom_layers(path)
    try:
        with passing("Loading the model"):
            model = keras.models.load_model(path, safe_mode=True, compile=False)
    except Exception as error:
        raise UserError(f"{path} cannot be opened as a Keras model: {first_sentence(error)}.") from None
    if outputs is not None and model.output_shape != (None, outputs):
        raise UserError(
            f"{path} has outputs of shape {model.output_shape} and labels.json beside it names {outputs} of them. "
            "They are not of one run; restore the run's own files."
        )
    return inline_convolutions(model)
