"""Predictions of a run's model for files, folders and patterns."""

import csv
import glob
import io
import json
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from tlkeras.data.folder import is_visible
from tlkeras.data.loading import available_cores
from tlkeras.errors import UserError
from tlkeras.modalities.base import DecodeError, Modality
from tlkeras.progress import progress
from tlkeras.run.load_run import Run, load_run
from tlkeras.run.predictor import Predictor, load_predictor

TEXT_WIDTH = 60  # of a text in a table
CHUNK = 256  # decoded examples in memory at once
Watch = Callable[[np.ndarray, np.ndarray | None, list[bool | None]], None]


@dataclass(frozen=True)
class Prediction:
    """What the model predicts for one example."""

    path: str  # the file; or the text, where it was given itself; or "image 1" for the first one in memory
    scores: list[tuple[str, float]]  # labels and probabilities, the most likely first; for regression ("value", number)
    error: str | None = None  # why the file could not be read; then there are no scores
    source: Literal["path", "text"] = "path"  # what the first is called in JSON
    unsure: bool | None = None  # whether it is below the run's threshold, or unlike its training; None where unknown

    def as_dict(self) -> dict[str, Any]:
        """Return the prediction for JSON."""
        if self.error:
            return {self.source: self.path, "error": self.error}
        scores = [{"label": label, "score": score} for label, score in self.scores]
        return {self.source: self.path, "predictions": scores, "unsure": self.unsure}


class Source(NamedTuple):
    """One example to predict."""

    name: str
    content: Path | bytes | np.ndarray  # as `Modality.read` takes it; bytes are a text


def check_top_k(top_k: int) -> None:
    """Refuse a number of labels below 1."""
    if top_k < 1:
        raise UserError(f"--top-k was {top_k}; it must be a whole number of at least 1.")


def predict(
    run_path: str | Path, inputs: Any, top_k: int = 3, texts: Sequence[str] = (), watch: Watch | None = None
) -> list[Prediction]:
    """Predict labels for files or images in memory.

    Args:
        run_path: folder that `scripts/train.py` wrote.
        inputs: a file, a folder (searched recursively) or a pattern such as `photos/*.jpg`; a Pillow image; an array of
            RGB pixels, uint8 or float, 0–255, `(H, W, 3)` or `(N, H, W, 3)`; or a list of any of these.
        top_k: how many labels for each of them; multi_label models give all labels of 0.5 or more if there are more.
        texts: for a run of texts, texts themselves.
        watch: called with outputs `(N, K)`, pooled features `(N, C)` and what is unsure, of all that can be read.

    Returns:
        One prediction for each file (once, however often it is given), image or text, in the order given, those of a
        folder by name; unreadable ones carry the reason. One is `unsure` where the confidence of the top class is below
        the threshold in the run's `thresholds.json`, or its features are unlike those of the training. Images in memory
        are called "image 1", "image 2" and so on.

    Raises:
        UserError: the run cannot be used, nothing is found, or there are texts or images and the run is of something
            else.

    Example:
        >>> tlkeras.predict("saved_models/photos", "new_images")[0].scores
    """
    check_top_k(top_k)
    run = load_run(run_path)
    modality = run.modality
    if texts and not modality.inline:
        raise UserError(f"--text was given, but the model of {run.path} takes {modality.plural}: give files of those.")
    sources: list[Source] = [*list_inputs(inputs, type(modality)), *(Source(text, text.encode()) for text in texts)]
    if not sources:
        raise UserError(f"Nothing was given for PATH{' or --text' * modality.inline}. See predict.py --help.")
    predictor = load_predictor(run)
    predictions: list[Prediction] = []
    with progress(len(sources), f"Predicting {modality.plural}") as bar:
        for start in range(0, len(sources), CHUNK):
            chunk = sources[start : start + CHUNK]
            predictions += predict_chunk(predictor, chunk, top_k, watch)
            bar.update(len(chunk))
    return predictions


def list_inputs(given: Any, modality: type[Modality]) -> list[Source]:
    """Return what `predict` was given as single examples in its order, each file once; refuse what is none."""
    found: dict[str, Any] = {}
    count = 0  # of those in memory
    for item in given if isinstance(given, list | tuple) else [given]:
        if isinstance(item, str | Path):
            found |= {str(file): file for file in find_files([item], modality)}
            continue
        for example in modality.from_memory(item if getattr(item, "ndim", 0) == 4 else [item]):
            count += 1
            found[f"{modality.singular} {count}"] = example
    return [Source(name, content) for name, content in found.items()]


def find_files(paths: Sequence[str | Path], modality: type[Modality]) -> list[Path]:
    """Return the files that files, folders and patterns stand for, each once and in the order given; refuse others."""
    plural, found = modality.plural, dict[Path, None]()
    for given in paths:
        path = Path(given).expanduser()
        if path.is_dir():
            files = [
                file for file in sorted(path.rglob("*"))
                if file.suffix.lower() in modality.suffixes
                and all(map(is_visible, file.relative_to(path).parts)) and file.is_file()
            ]  # fmt: skip
        elif path.exists():
            files = [path]
        else:
            matches = map(Path, sorted(glob.glob(str(path), recursive=True)))  # noqa: PTH207, it takes any pattern
            files = [match for match in matches if match.is_file()]
        if not files:
            kind = f"holds no {plural}" if path.is_dir() else "is neither a file nor a folder nor a matching pattern"
            raise UserError(
                f"{given} {kind}. Give {plural}, folders of {plural}, or a pattern such as {modality.glob_example}."
            )
        modality.check_files(files, str(given))
        found.update(dict.fromkeys(files))
    return list(found)


def predict_chunk(predictor: Predictor, sources: Sequence[Source], top_k: int, watch: Watch | None) -> list[Prediction]:
    """Predict examples in their order, the unreadable ones included."""
    run = predictor.run

    def read(source: Source) -> tuple[Any, str | None]:
        try:
            return run.modality.read(source.content), None
        except DecodeError as error:
            return None, str(error)

    with ThreadPool(min(available_cores(), len(sources))) as pool:
        found = pool.map(read, sources)
    errors = [error for _, error in found]
    decoded = [row for row, error in found if not error]
    batch = np.array(decoded, run.modality.dtype).reshape(-1, *run.modality.shape)
    outputs, features = predictor.outputs(batch)
    unsure = predictor.unsure(outputs, features)
    if watch:
        watch(outputs, features, unsure)
    decided = iter(zip(outputs, unsure, strict=True))
    predictions = []
    for source, error in zip(sources, errors, strict=True):
        kind: Literal["path", "text"] = "text" if isinstance(source.content, bytes) else "path"
        if error:
            predictions.append(Prediction(source.name, [], error, kind))
        else:
            output, doubt = next(decided)
            predictions.append(Prediction(source.name, rank(run, output, top_k), None, kind, doubt))
    return predictions


def rank(run: Run, output: np.ndarray, top_k: int) -> list[tuple[str, float]]:
    """Return labels and probabilities of one output, float32 `(K,)`, the most likely first."""
    if run.task == "regression":
        return [("value", float(output[0]))]
    count = max(top_k, int((output >= 0.5).sum())) if run.task == "multi_label" else top_k
    return [(run.classes[index], float(output[index])) for index in np.argsort(-output, kind="stable")[:count]]


def as_table(predictions: Sequence[Prediction]) -> str:
    """Return a line for each example; of a text its beginning."""
    names = [one.path if one.source == "path" else textwrap.shorten(one.path, TEXT_WIDTH) for one in predictions]
    width = max(map(len, names))
    lines = []
    for name, prediction in zip(names, predictions, strict=True):
        labels = "  ".join(f"{label} {score:.3f}" for label, score in prediction.scores)
        labels += "  unsure" if prediction.unsure else ""
        lines.append(f"{name:<{width}}  {labels or f'unreadable: {prediction.error}'}")
    return "\n".join(lines)


def as_csv(predictions: Sequence[Prediction]) -> str:
    """Return a row for each label of each example; an unreadable one has one row with its error."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "rank", "label", "score", "error", "unsure"))
    for *columns, unsure in csv_rows(predictions):
        writer.writerow((*columns, None if unsure is None else str(unsure).lower()))
    return text.getvalue().rstrip("\n")


def csv_rows(predictions: Sequence[Prediction]) -> Iterator[tuple]:
    """Yield path, rank, label, score, error and unsure of each label; None where there is nothing to say."""
    for prediction in predictions:
        if prediction.error:
            yield prediction.path, None, None, None, prediction.error, None
        for number, (label, score) in enumerate(prediction.scores, start=1):
            yield prediction.path, number, label, score, None, prediction.unsure


def as_json(predictions: Sequence[Prediction]) -> str:
    """Return a list with the path of each file, or the text, and its predictions or its error."""
    return json.dumps([prediction.as_dict() for prediction in predictions], indent=2, ensure_ascii=False)
