"""Write `report.html` and `MODEL_CARD.md` of a run, from its folder and from what was just evaluated."""

import csv
import hashlib
import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.config.fields import flag_name
from tlkeras.config.train import TrainConfig
from tlkeras.data.sources import short_name
from tlkeras.errors import UserError
from tlkeras.io.atomic import open_atomic
from tlkeras.progress import passing
from tlkeras.run.load_run import Run, load_run, read_text
from tlkeras.run.predictions import load_predictions

if TYPE_CHECKING:
    import keras

    from tlkeras.data.example import Example
    from tlkeras.data.pipeline import SplitData
    from tlkeras.data.prepare import PreparedData
    from tlkeras.evaluation.report import Examined, Facts
    from tlkeras.run.evaluate import EvaluatedSplit

log = logging.getLogger("tlkeras")
REPORT, CARD, FINDINGS = "report.html", "MODEL_CARD.md", "findings.json"
# Options that the report names anyway, or that say nothing about the result.
NOT_LISTED = {
    "data", "data_dir", "run_dir", "overwrite", "resume", "backbone", "weights", "image_size", "unfreeze", "seed",
    "task",
}  # fmt: skip


def report_training(
    folder: Path,
    path: Path,
    model: "keras.Model",
    data: "PreparedData",
    splits: dict[str, "SplitData"],
) -> None:
    """Write report and model card of a run that is complete in `folder` and will be at `path`; say so if that fails."""
    from tlkeras.evaluation.report import Examined

    split = "test" if "test" in splits else "validation"
    part = splits[split]
    names = [data.examples[row].name for row in part.rows]
    images = (lambda rows: part.take(rows)[0]) if are_images(part.inputs) else None
    outputs = load_predictions(folder).of(split).outputs
    examined = Examined(split, names, outputs, part.targets, images, find_by_name(data.examples, data.inputs))
    if write_report(folder, model, examined):
        log.info("Report: %s", path / REPORT)


def report_evaluation(run: Run, model: "keras.Model", parts: dict[str, "EvaluatedSplit"], data: Any) -> Path | None:
    """Write the report of an evaluation and return its path; that on other data goes into a folder of its own."""
    from tlkeras.evaluation.report import Examined
    from tlkeras.run.evaluate import training_note

    split = next((name for name in ("test", "validation") if name in parts), next(iter(parts)))
    part = parts[split]
    names = [example.name for example in part.examples]
    images = (lambda rows: part.inputs[rows]) if are_images(part.inputs) else None
    find = find_by_name(part.examples, part.inputs)
    examined = Examined(split, names, part.outputs, part.targets, images, find)
    metrics = {name: part.metrics for name, part in parts.items()}
    if data is None:
        return write_report(run.path, model, examined, metrics)
    name = re.sub(r"[^\w]+", "-", short_name(str(data)).lower()).strip("-")
    path = Path(str(data)).expanduser().resolve()
    folder = run.path / f"evaluation-{name}-{hashlib.blake2b(bytes(path), digest_size=3).hexdigest()}"
    seen = training_note(run, [part.inputs for part in parts.values()])
    return write_report(run.path, model, examined, metrics, folder, [seen[0].upper() + seen[1:]] if seen else [])


def find_by_name(examples: Sequence["Example"], inputs: Any) -> Callable[[str], np.ndarray | None]:
    """Return a function that finds the image of an example by its name; None for one that is not among these."""
    rows = {example.name: row for row, example in enumerate(examples)} if are_images(inputs) else {}
    return lambda name: inputs[rows[name]] if name in rows else None


def are_images(inputs: Any) -> bool:
    """Return whether decoded examples can be shown."""
    return inputs.dtype == np.uint8 and len(inputs.shape) == 4


def write_report(
    folder: Path,
    model: "keras.Model",
    examined: "Examined",
    metrics: dict[str, Any] | None = None,
    target: Path | None = None,
    notes: Sequence[str] = (),
) -> Path | None:
    """Write the report of a run, perhaps with new metrics; of other data alone into `target`. None where that fails."""
    from tlkeras.evaluation.report import render_model_card, render_report

    try:
        with passing("Writing the report"):
            facts = read_facts(folder, metrics or {}, other=target is not None)
            facts.notes.extend(notes)
            page = render_report(facts, examined, lambda images, classes: draw_maps(model, images, classes))
            (target or folder).mkdir(exist_ok=True)
            with open_atomic((target or folder) / REPORT, "w") as file:
                file.write(page)
            if target is None and not (folder / CARD).exists():  # its owner may have filled it in
                card = render_model_card(facts, examined.split, load_run(folder).modality.name)
                (folder / CARD).write_text(card, encoding="utf-8")
    except Exception as error:  # the run is complete, and more than its report
        log.warning("Note: the report could not be written (%s: %s). The run is complete without it.",
                    type(error).__name__, error)  # fmt: skip
        return None
    return (target or folder) / REPORT


def draw_maps(model: "keras.Model", images: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Return images, uint8 `(N, H, W, 3)`, with what counted for these classes."""
    from tlkeras.evaluation.explain import SINGLE_CELL, class_maps, has_single_cell, overlay

    if has_single_cell(model):
        raise UserError(SINGLE_CELL)
    return overlay(images, class_maps(model, images, classes))


def read_facts(folder: Path, metrics: dict[str, Any], other: bool) -> "Facts":
    """Return what the files of a run say, with new metrics, or those of other data alone."""
    from tlkeras.evaluation.metrics import format_metrics
    from tlkeras.evaluation.report import Facts

    run = load_run(folder)
    kept = read_json(folder / "metrics.json") or {}
    shown = {} if other else {name: kept[name] for name in ("train", "validation", "test") if name in kept}
    shown |= {name: shown.get(name, {}) | values for name, values in metrics.items()}
    history = read_history(folder / "history.csv")
    data, backbone = short_name(run.config["data"]), str(run.config.get("backbone"))
    files = {"thresholds.json": "no thresholds"} if run.classes else {}
    notes = [f"An earlier version wrote this run: there is no {name}, so {text} are shown."
             for name, text in files.items() if not (folder / name).exists()]  # fmt: skip
    if not other and "test" not in shown:
        notes.append("Validation chose the epoch, so its metrics are slightly optimistic; there is no test split.")
    where = ", evaluated on other data" if other else ""
    unreadable = folder / "unreadable.csv"
    return Facts(
        title=f"{data}, {backbone}{where}",
        task=run.task,
        classes=run.classes,
        singular=run.modality.singular,
        plural=run.modality.plural,
        about=about(run, kept, history),
        options=changed_options(run.config),
        headlines={name: format_metrics(values, run.modality.plural) for name, values in shown.items()},
        metrics=shown,
        backbone=backbone,
        data=data,
        notes=notes,
        history=history if "kept_epoch" in kept else [],
        kept_epoch=kept.get("kept_epoch", 0),
        thresholds=read_json(folder / "thresholds.json") or {},
        calibration=kept.get("calibration"),
        findings=read_json(folder / FINDINGS),
        unreadable=len(read_text(unreadable).splitlines()) - 1 if unreadable.exists() else 0,
    )


def about(run: Run, kept: dict[str, Any], history: list[dict[str, Any]]) -> dict[str, str]:
    """Return what was trained on what, and how long, in words."""
    with (run.path / "split.csv").open(newline="", encoding="utf-8") as file:
        counts = Counter(row["split"] for row in csv.DictReader(file))
    phases = Counter(row["phase"] for row in history)
    config, more = run.config, f" and {len(run.classes) - 10} more" if len(run.classes) > 10 else ""
    rows = {
        "data": short_name(config["data"]),
        "examples": ", ".join(f"{count:,} {split}" for split, count in counts.items()),
        "classes": f"{len(run.classes)} ({', '.join(run.classes[:10])}{more})" if run.classes else "",
        "task": run.task.replace("_", " "),
        "backbone": f"{config.get('backbone')}, weights {Path(str(config.get('weights'))).name}",
        "image size": config.get("image_size"),
        "unfrozen in phase 2": config.get("unfreeze") if phases["finetune"] else "",
        "epochs": ", ".join(f"{count} {phase}" for phase, count in phases.items()),
        "kept": f"epoch {kept['kept_epoch']}, by {kept['monitor']}" if "monitor" in kept else "",
        "seconds": ", ".join(f"{name} {seconds:g}" for name, seconds in (kept.get("seconds") or {}).items()),
        "seed": config.get("seed"),
        "CPU cores": kept.get("cpu_count"),
        "versions": ", ".join(f"{name} {version}" for name, version in kept.get("versions", {}).items()),
    }  # fmt: skip
    return {name: str(value) for name, value in rows.items() if value not in (None, "")}


def changed_options(config: dict[str, Any]) -> dict[str, str]:
    """Return the options of a run that differ from the defaults for its weights."""
    usual = TrainConfig(unfreeze=config.get("unfreeze")).with_defaults("", config.get("weights") != "none")
    defaults = {entry.name: getattr(usual, entry.name) for entry in fields(usual)}
    return {
        flag_name(name): str(value) for name, value in config.items()
        if name in defaults and name not in NOT_LISTED and value != defaults[name]
    }  # fmt: skip


def read_json(path: Path) -> Any:
    """Return what a file of a run holds; None where it is not there."""
    return json.loads(read_text(path)) if path.exists() else None


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return the epochs of a training with numbers; empty without such a file."""
    if not path.exists():
        return []
    rows = list(csv.DictReader(read_text(path).splitlines()))
    texts = {"phase"}
    return [{name: value if name in texts else float(value) for name, value in row.items() if value} for row in rows]
