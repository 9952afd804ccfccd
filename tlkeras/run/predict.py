"""Predictions of a run's model for files, folders and patterns."""

import csv
import glob
import io
import json
import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tlkeras.config import ModalityName
from tlkeras.data.example import DecodeError
from tlkeras.modalities.base import SUFFIXES
from tlkeras.errors import UserError
from tlkeras.run.evaluate import predict_inputs
from tlkeras.run.load_run import Run, load_run
from tlkeras.runtime import load_tensorflow

log = logging.getLogger("tlkeras")
PATTERNS = {"pictures": "'photos/*.jpg'", "texts": "'reviews/*.txt'", "sounds": "'birds/*.wav'"}
TEXT_WIDTH = 60  # of a text in a table
CHUNK = 256  # decoded examples in memory at once


@dataclass(frozen=True)
class Prediction:
    """What the model says of one picture, text or sound.

    Attributes:
        path: the file; or the text, where it was given itself.
        scores: `(label, probability)` from the likeliest on; for regression one pair, ("value", number).
        error: why the file could not be read; then there are no scores.
        source: what the first is called in JSON.
    """

    path: str
    scores: list[tuple[str, float]]
    error: str | None = None
    source: Literal["path", "text"] = "path"

    def as_dict(self) -> dict[str, Any]:
        """The prediction as it goes into JSON."""
        if self.error:
            return {self.source: self.path, "error": self.error}
        scores = [{"label": label, "score": score} for label, score in self.scores]
        return {self.source: self.path, "predictions": scores}


def predict(
    run_path: str | Path, paths: Sequence[str | Path], top_k: int = 3, texts: Sequence[str] = ()
) -> list[Prediction]:
    """Predict for pictures, texts or sounds, whatever the run was trained on.

    Args:
        run_path: folder that `scripts/train.py` wrote.
        paths: files, folders (searched through and through) or patterns such as `photos/*.jpg`.
        top_k: how many labels for each of them; multi_label models give all labels of 0.5 or more if there are more.
        texts: for a run of texts, texts themselves.

    Returns:
        One prediction for each file, in the order given, those of a folder by name, and for each text; unreadable ones
        carry the reason.

    Raises:
        UserError: when the run cannot be used, nothing is found, or there are texts and the run is of something else.
    """
    if top_k < 1:
        raise UserError(f"--top-k was {top_k}; it must be a whole number of at least 1.")
    run = load_run(run_path)
    if texts and run.form.name != "texts":
        raise UserError(f"--text was given, but the model of {run.path} takes {run.form.name}: give files of those.")
    inputs = [*find_files(paths, run.form.name), *texts]
    if not inputs:
        raise UserError(
            f"Nothing was given for PATH{' or --text' * (run.form.name == 'texts')}. See predict.py --help."
        )
    load_tensorflow()
    from tlkeras.run.model_file import load_model

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    predictions: list[Prediction] = []
    for start in range(0, len(inputs), CHUNK):
        predictions += predict_chunk(model, run, inputs[start : start + CHUNK], top_k)
    return predictions


def find_files(paths: Sequence[str], form: ModalityName = "pictures") -> list[Path]:
    """The pictures, texts or sounds that files, folders and patterns stand for, each once, in the order given.

    Raises:
        UserError: naming the first that stands for nothing, or for a table where texts are wanted.
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
        if form == "texts" and any(file.suffix.lower() == ".csv" for file in files):
            raise UserError(
                f"{given} is a table, which would be read as one text. Give files of one text each, or --text TEXT; "
                "evaluate.py RUN --data TABLE judges a table with labels."
            )
        found.update(dict.fromkeys(files))
    return list(found)


def counts(path: Path, form: ModalityName) -> bool:
    """Whether a file found in a folder counts as a picture, text or sound: by its extension, and not hidden."""
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in SUFFIXES[form] and not hidden


def predict_chunk(model: Any, run: Run, inputs: Sequence[Path | str], top_k: int) -> list[Prediction]:
    """Predictions for some files or texts, in their order, the unreadable ones included.

    Args:
        model: the run's, opened.
        run: tells form, task and classes.
        inputs: files of pictures, texts or sounds; or texts themselves, as strings.
        top_k: how many labels for each.
    """
    errors, decoded = {}, []
    for number, one in enumerate(inputs):
        try:
            decoded.append(run.form.read(one.encode() if isinstance(one, str) else one))
        except DecodeError as error:
            errors[number] = str(error)
    batch = np.array(decoded, run.form.dtype).reshape(-1, *run.form.shape)
    outputs = iter(predict_inputs(model, batch, run.config["batch_size"]))
    return [
        Prediction(
            str(one),
            [] if number in errors else rank(run, next(outputs), top_k),
            errors.get(number),
            "text" if isinstance(one, str) else "path",
        )
        for number, one in enumerate(inputs)
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
    """A line for each picture, text or sound; of a text its beginning."""
    names = [one.path if one.source == "path" else textwrap.shorten(one.path, TEXT_WIDTH) for one in predictions]
    width = max(map(len, names))
    lines = []
    for name, prediction in zip(names, predictions, strict=True):
        labels = "  ".join(f"{label} {score:.3f}" for label, score in prediction.scores)
        lines.append(f"{name:<{width}}  {labels or f'unreadable: {prediction.error}'}")
    return "\n".join(lines)


def as_csv(predictions: Sequence[Prediction]) -> str:
    """A row for each label of each file or text; one that could not be read has one row with its error."""
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
    """A list with the path of each file, or the text, and its predictions or its error."""
    return json.dumps([prediction.as_dict() for prediction in predictions], indent=2, ensure_ascii=False)
