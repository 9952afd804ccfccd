"""Predictions of a run's model for files, folders and patterns."""

import csv
import glob
import io
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.config import FormName
from tlkeras.data.example import Unreadable
from tlkeras.data.forms import SUFFIXES
from tlkeras.errors import UserError
from tlkeras.run.evaluate import predict_inputs
from tlkeras.run.opening import Run, open_run
from tlkeras.startup import load_tensorflow

log = logging.getLogger("tlkeras")
PATTERNS = {"pictures": "'photos/*.jpg'", "texts": "'reviews/*.txt'", "sounds": "'birds/*.wav'"}
CHUNK = 256  # decoded examples in memory at once


@dataclass(frozen=True)
class Prediction:
    """What the model says of one picture.

    Attributes:
        path: the file.
        scores: `(label, probability)` from the likeliest on; for regression one pair, ("value", number).
        error: why the file could not be read; then there are no scores.
    """

    path: str
    scores: list[tuple[str, float]]
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The prediction as it goes into JSON."""
        if self.error:
            return {"path": self.path, "error": self.error}
        scores = [{"label": label, "score": score} for label, score in self.scores]
        return {"path": self.path, "predictions": scores}


def predict(run_path: str, paths: Sequence[str], top_k: int = 3) -> list[Prediction]:
    """Predict for pictures.

    Args:
        run_path: folder that `scripts/train.py` wrote.
        paths: files, folders (searched through and through) or patterns such as `photos/*.jpg`.
        top_k: how many labels for each picture; multi_label models give all labels of 0.5 or more if there are more.

    Returns:
        One prediction for each file, in the order of their names; unreadable ones carry the reason.

    Raises:
        UserError: when the run cannot be used, or no picture is found.
    """
    if top_k < 1:
        raise UserError(f"--top-k was {top_k}; it must be a whole number of at least 1.")
    run = open_run(run_path)
    files = find_files(paths, run.form.name)
    load_tensorflow()
    from tlkeras.run.model_file import load_model

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    predictions: list[Prediction] = []
    for start in range(0, len(files), CHUNK):
        predictions += predict_chunk(model, run, files[start : start + CHUNK], top_k)
    return predictions


def find_files(paths: Sequence[str], form: FormName = "pictures") -> list[Path]:
    """The pictures, texts or sounds that files, folders and patterns stand for, each once, in the order given.

    Raises:
        UserError: naming the first that stands for nothing.
    """
    found: dict[Path, None] = {}
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            files = [
                file for file in sorted(path.rglob("*")) if counts(file.relative_to(path), form) and file.is_file()
            ]
        elif path.exists():
            files = [path]
        else:
            matches = map(Path, sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207, it takes any pattern
            files = [match for match in matches if match.is_file()]
        if not files:
            kind = f"holds no {form}" if path.is_dir() else "is neither a file nor a folder nor a pattern that fits one"
            raise UserError(f"{given} {kind}. Give {form}, folders of {form}, or a pattern such as {PATTERNS[form]}.")
        found.update(dict.fromkeys(files))
    return list(found)


def counts(path: Path, form: FormName) -> bool:
    """Whether a file found in a folder counts as a picture, text or sound: by its extension, and not hidden."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES[form] and not hidden


def predict_chunk(model: Any, run: Run, files: Sequence[Path], top_k: int) -> list[Prediction]:
    """Predictions for some files, in their order, the unreadable ones included.

    Args:
        model: the run's, opened.
        run: tells form, task and classes.
        files: pictures, texts or sounds.
        top_k: how many labels for each.
    """
    errors, inputs = {}, []
    for file in files:
        try:
            inputs.append(run.form.read(file))
        except Unreadable as error:
            errors[file] = str(error)
    batch = np.array(inputs, run.form.dtype).reshape(-1, *run.form.shape)
    outputs = iter(predict_inputs(model, batch, run.config["batch_size"]))
    return [
        Prediction(str(file), [], errors[file])
        if file in errors
        else Prediction(str(file), rank(run, next(outputs), top_k))
        for file in files
    ]


def rank(run: Run, output: np.ndarray, top_k: int) -> list[tuple[str, float]]:
    """Labels and probabilities of one output, the likeliest first.

    Args:
        run: tells task and classes.
        output: float32 `(K,)`.
        top_k: how many.
    """
    if run.task == "regression":
        return [("value", float(output[0]))]
    count = max(top_k, int((output >= 0.5).sum())) if run.task == "multi_label" else top_k
    return [(run.classes[index], float(output[index])) for index in np.argsort(-output, kind="stable")[:count]]


def as_table(predictions: Sequence[Prediction]) -> str:
    """A line for each picture."""
    width = max(len(prediction.path) for prediction in predictions)
    lines = []
    for prediction in predictions:
        labels = "  ".join(f"{label} {score:.3f}" for label, score in prediction.scores)
        lines.append(f"{prediction.path:<{width}}  {labels or f'unreadable: {prediction.error}'}")
    return "\n".join(lines)


def as_csv(predictions: Sequence[Prediction]) -> str:
    """A row for each label of each picture; a picture that could not be read has one row with its error."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "rank", "label", "score", "error"))
    for prediction in predictions:
        if prediction.error:
            writer.writerow((prediction.path, "", "", "", prediction.error))
        for place, (label, score) in enumerate(prediction.scores, start=1):
            writer.writerow((prediction.path, place, label, score, ""))
    return text.getvalue().rstrip("\n")


def as_json(predictions: Sequence[Prediction]) -> str:
    """A list with the path of each picture and its predictions or its error."""
    return json.dumps([prediction.as_dict() for prediction in predictions], indent=2, ensure_ascii=False)
