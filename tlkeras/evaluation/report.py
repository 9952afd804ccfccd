"""The report of a run: one HTML file that holds all it shows, and a model card in the format of Hugging Face."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jinja2 import Environment, FileSystemLoader

from tlkeras.config.fields import Task
from tlkeras.evaluation import report_plots
from tlkeras.evaluation.metrics import metric_label

SHOWN = 16  # examples of a kind
SHOWN_FOUND = 8  # images of a finding
MAX_MATRIX = 12  # classes of a confusion matrix; of more the most confused pairs are listed
MAX_ROWS = 30  # of a table of classes, and of pairs
# Names of the metrics that Hugging Face knows, by ours.
CARD_METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "roc_auc": "roc_auc", "mae": "mae", "mse": "mse"}
MapMaker = Callable[[np.ndarray, np.ndarray], np.ndarray]  # images, classes (N,) -> the images with their maps


@dataclass(frozen=True)
class Examined:
    """The split that a report looks at example by example."""

    split: str
    names: Sequence[str]  # of its N examples
    outputs: np.ndarray  # (N, K)
    targets: np.ndarray  # (N, K)
    images: Callable[[np.ndarray], np.ndarray] | None  # row numbers -> uint8 (M, H, W, 3); None for other data
    find: Callable[[str], np.ndarray | None] = lambda name: None  # name of any example -> uint8 (H, W, 3), if known


@dataclass(frozen=True)
class Facts:
    """What is known of a run; what an earlier version did not write is empty."""

    title: str
    task: Task
    classes: Sequence[str]  # empty for regression
    singular: str  # what an example is called
    plural: str
    about: dict[str, str]  # name and value of what was trained on what
    options: dict[str, str]  # those that are not at their default
    headlines: dict[str, str]  # a line for each split
    metrics: dict[str, dict[str, Any]]  # of each split, as in metrics.json
    backbone: str = ""
    data: str = ""
    notes: list[str] = field(default_factory=list)  # what is missing
    history: list[dict[str, Any]] = field(default_factory=list)
    kept_epoch: int = 0
    thresholds: dict[str, Any] = field(default_factory=dict)
    calibration: Any = None  # as in metrics.json
    findings: list[dict[str, Any]] | None = None
    unreadable: int = 0


@dataclass(frozen=True)
class Card:
    """An example that is shown: its image, the map of the model's attention, and what to say about it."""

    name: str
    text: str
    image: str = ""  # address of a JPEG; empty where there is no image
    overlay: str = ""
    label: str = ""  # class that the map is of


def environment() -> Environment:
    """Return the templates; all that is put into them is escaped."""
    loader = FileSystemLoader(Path(__file__).with_name("templates"))
    made = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    made.filters |= {"metric_label": metric_label, "number": number, "interval": interval, "plain": plain}
    return made


def number(value: Any) -> str:
    """Return a metric as text; a dash where it is not defined."""
    if isinstance(value, int | float):
        return f"{value:,}" if isinstance(value, int) else f"{value:.3f}" if abs(value) < 100 else f"{value:,.4g}"
    return "–"


def interval(values: dict[str, Any], name: str) -> str:
    """Return the 95% interval of a metric as text; empty where there is none."""
    found = values.get("intervals_95", {}).get(name) or values.get(f"{name}_interval_95")
    return f"{number(float(found[0]))}–{number(float(found[1]))}" if found else ""


def plain(text: str) -> str:
    """Return text with what Markdown would take for markup escaped, for a cell of a table too."""
    return re.sub(r"[\\`*|\[\]]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", text.replace("\n", " "))


def metric_names(metrics: dict[str, dict[str, Any]]) -> list[str]:
    """Return the names of the metrics that are single numbers, in order."""
    values = {name: value for split in metrics.values() for name, value in split.items()}
    return [name for name, value in values.items() if value is None or isinstance(value, int | float)]


def render_report(facts: Facts, examined: Examined, draw_maps: MapMaker | None = None) -> str:
    """Return the report as HTML that needs no other file; `draw_maps` shows what the model looked at."""
    wrong, right, labels = choose_examples(examined, facts.task)
    notes, overlays = list(facts.notes), None
    if draw_maps and examined.images and len(wrong):
        try:
            overlays = draw_maps(examined.images(wrong), labels[wrong])
        except Exception as error:  # a model without feature maps, or no memory for them
            notes.append(f"There are no maps of what the model looked at: {error}")
    mistakes = cards(examined, facts, wrong, labels, overlays)
    values = facts.metrics[examined.split]
    return environment().get_template("report.html").render(
        facts=facts,
        examined=examined,
        notes=notes,
        plots=plots(facts, examined),
        metric_names=metric_names(facts.metrics),
        found=[(finding, finding_cards(finding, examined)) for finding in facts.findings or []],
        class_rows=sorted(values.get("classes", {}).items(), key=lambda row: row[1]["f1"])[:MAX_ROWS],
        matrix=confusion_matrix(examined) if facts.task == "single_label" else None,
        max_matrix=MAX_MATRIX,
        pairs=confused_pairs(examined, facts.classes) if facts.task == "single_label" else [],
        mistakes=mistakes,
        right=cards(examined, facts, right, labels, None),
    )  # fmt: skip


def plots(facts: Facts, examined: Examined) -> dict[str, Any]:
    """Return the SVG of each plot by its name."""
    found: dict[str, Any] = {}
    if facts.history:
        found["curves"] = report_plots.curves(facts.history, facts.kept_epoch)
    if facts.task == "regression":
        found["scatter"] = report_plots.scatter_plot(examined.outputs[:, 0], examined.targets[:, 0])
    else:
        found["reliability"] = report_plots.reliability_plot(examined.outputs, examined.targets, facts.task)
    if facts.task == "single_label":
        reject = facts.thresholds.get("reject")
        found["coverage"] = report_plots.coverage_plot(examined.outputs, examined.targets, reject)
    return found


def choose_examples(examined: Examined, task: Task) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of the worst mistakes and of the least confident right answers, and a class for each row `(N,)`.

    The class is the predicted one; of several labels it is the one that is furthest off.
    """
    outputs, targets = examined.outputs.astype("float64"), examined.targets
    if task == "regression":
        order = np.argsort(-np.abs(outputs - targets)[:, 0], kind="stable")
        return order[:SHOWN], order[:0], np.zeros(len(outputs), int)
    if task == "multi_label":
        labels = np.abs(outputs - targets).argmax(axis=1)
        confidence = np.maximum(outputs, 1 - outputs)[np.arange(len(labels)), labels]
        wrong = ((outputs >= 0.5) != (targets > 0.5)).any(axis=1)
    else:
        labels, confidence = outputs.argmax(axis=1), outputs.max(axis=1)
        wrong = labels != targets.argmax(axis=1)
    order = np.argsort(-confidence, kind="stable")
    return order[wrong[order]][:SHOWN], order[~wrong[order]][::-1][:SHOWN], labels


def cards(
    examined: Examined, facts: Facts, rows: np.ndarray, labels: np.ndarray, overlays: np.ndarray | None
) -> list[Card]:
    """Return what is shown of some examples; labels `(N,)` are of all, overlays of these rows."""
    images = examined.images(rows) if examined.images and len(rows) else None
    found = []
    for index, row in enumerate(rows):
        image = "" if images is None else report_plots.jpeg(images[index])
        overlay = "" if overlays is None else report_plots.jpeg(overlays[index])
        label = facts.classes[labels[row]] if facts.classes else "the predicted number"
        found.append(Card(str(examined.names[row]), describe(examined, facts, row, labels[row]), image, overlay, label))
    return found


def finding_cards(finding: dict[str, Any], examined: Examined) -> list[Card]:
    """Return the first images that the check of the data is about, those that are at hand."""
    images = {name: examined.find(name) for name in finding["paths"][:SHOWN_FOUND]}
    return [Card(name, "", report_plots.jpeg(image)) for name, image in images.items() if image is not None]


def describe(examined: Examined, facts: Facts, row: int, label: int) -> str:
    """Return what was predicted for an example, and what is true."""
    outputs, targets = examined.outputs[row], examined.targets[row]
    if facts.task == "regression":
        return f"{outputs[0]:.4g} predicted, {targets[0]:.4g} true"
    said = f"{facts.classes[label]} {outputs[label]:.3f}"
    if facts.task == "multi_label":
        return f"{said}, {'has' if targets[label] > 0.5 else 'does not have'} this label"
    true = int(targets.argmax())
    return said if true == label else f"{said}, is {facts.classes[true]} ({outputs[true]:.3f})"


def confusion_matrix(examined: Examined) -> np.ndarray:
    """Return how many examples of each class (rows) were taken for each class (columns), `(K, K)`."""
    size = examined.outputs.shape[1]
    pairs = examined.targets.argmax(axis=1) * size + examined.outputs.argmax(axis=1)
    return np.bincount(pairs, minlength=size * size).reshape(size, size)


def confused_pairs(examined: Examined, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return true class, predicted class, count, and fraction of the true class, the most frequent mistakes first."""
    matrix = confusion_matrix(examined)
    totals = matrix.sum(axis=1)
    np.fill_diagonal(matrix, 0)
    order = np.argsort(-matrix, axis=None, kind="stable")[:MAX_ROWS]
    found = [(int(index) // len(matrix), int(index) % len(matrix)) for index in order]
    return [
        {"true": classes[true], "predicted": classes[other], "count": int(matrix[true, other]),
         "fraction": float(matrix[true, other] / totals[true])}
        for true, other in found if matrix[true, other]
    ]  # fmt: skip


def render_model_card(facts: Facts, split: str, kind: str) -> str:
    """Return the text of `MODEL_CARD.md`, with the metrics of one split; the kind of data is, say, "image"."""
    values = facts.metrics[split]
    task = f"{kind}-{'classification' if facts.classes else 'regression'}"
    measured = [
        {"type": known, "value": round(values[name], 4), "name": metric_label(name)}
        for name, known in CARD_METRICS.items() if values.get(name) is not None
    ]  # fmt: skip
    result = {
        "task": {"type": task},
        "dataset": {"type": facts.data, "name": facts.data, "split": split},
        "metrics": measured,
    }
    front = {
        "library_name": "keras",
        **({"pipeline_tag": task} if facts.classes else {}),
        "tags": ["keras", "transfer-learning", facts.backbone],
        "metrics": [entry["type"] for entry in measured],
        "model-index": [{"name": facts.title, "results": [result]}],
    }
    text = environment().get_template("model_card.md").render(
        facts=facts, split=split, values=values, metric_names=metric_names({split: values})
    )  # fmt: skip
    return f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n\n{text.strip()}\n"
