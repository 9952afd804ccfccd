"""The work of `scripts/choose.py`: candidates in, a ranking and the options of the best one out."""

import dataclasses
import logging
import math
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.choose import ChooseConfig
from tlkeras.config.fields import with_options
from tlkeras.config.train import TrainConfig
from tlkeras.data.prepare import PreparedData
from tlkeras.data.sources import short_name
from tlkeras.errors import UserError
from tlkeras.io.atomic import write_atomic
from tlkeras.run.artifacts import write_json
from tlkeras.run.folder import RUNS, log_file
from tlkeras.run.folds import class_labels, example_groups, validation_folds
from tlkeras.run.job import Job, configure, prepare
from tlkeras.run.quiet import quiet
from tlkeras.run.trial import OutOfTime, decode_for, modality_of, stop_at, train_and_predict

log = logging.getLogger("tlkeras")
FEATURE_FRACTION = 0.5  # of the budget, for features; the rest is for both phases of the best
PLOT = "choice.png"


@dataclass(frozen=True)
class Chosen:
    """A candidate whose weights are available."""

    name: str
    config: TrainConfig
    spec: BackboneSpec


def choose(config: ChooseConfig | None = None, /, **options: Any) -> dict[str, Any]:
    """Rank backbones on images of one's own: candidates on few, the better half on more, the best three trained.

    The method is successive halving (Jamieson and Talwalkar 2016, arXiv:1502.07943) over logistic regressions on
    features, cross-validated on training images; the best three, or as many as fit into a budget, are then trained in
    both phases, in three folds where there are fewer than 200 validation images.

    Args:
        config: all options; or give them by keyword.
        **options: those of `ChooseConfig`, such as `backbones="MobileNetV2,ResNet50"` and `budget=10` (minutes).

    Returns:
        What was measured: "candidates" and "trained", the best one first, each with "name", "accuracy",
        "interval_95" and "images"; "best"; the paths "config", which `train.py --config` takes, and "plot".

    Raises:
        UserError: for a mistake in options or data, no candidate whose weights are available, or too short a budget.

    Example:
        >>> result = tlkeras.choose(data="photos", backbones="MobileNetV2,ResNet50", budget=10)
    """
    start = time.monotonic()
    config = with_options(config or ChooseConfig(), options, "choose")
    config.check()
    if config.search:
        raise UserError("search was True; choose() ranks backbones. Give choose.py --search on the command line.")
    limit = math.inf if config.budget is None else 60 * config.budget
    folder = output_folder(config)
    chosen, missing = find_candidates(config)
    with tempfile.TemporaryDirectory() as name, log_file(Path(name, "log.txt")):
        data = load_data(chosen[0], Path(name))
        chosen, unavailable = resolved(chosen, data)
        ranked, last, late, sure = rank(chosen, data, config.seed, start + FEATURE_FRACTION * limit)
        if not last:
            raise UserError(f"--budget {config.budget} is too short for any candidate; give more minutes.")
        names = last if config.budget is None else [row["name"] for row in ranked]  # the others, if there is time
        finalists = [one for name in names for one in chosen if one.name == name]
        trained, sure_after, unfinished = train_finalists(finalists, data, ranked, start + limit)
    # What had no time to be trained is not worse than what had.
    best = trained[0]["name"] if trained and last[0] not in unfinished else last[0]
    result = {
        "data": config.data, "unit": data.modality.plural, "missing": missing + unavailable, "late": late,
        "candidates": ranked, "finalists": last, "probability": sure, "trained": trained,
        "probability_trained": sure_after, "unfinished": unfinished, "best": best,
        "config": str(folder / "config.yaml"), "plot": str(folder / PLOT),
        "minutes": round((time.monotonic() - start) / 60, 2),
    }  # fmt: skip
    from tlkeras.selection.plots import plot_choice

    write_config(next(one.config for one in chosen if one.name == best), folder)
    plot_choice(ranked, trained, folder / PLOT)
    write_json(folder / "choice.json", result)
    return result


def output_folder(config: ChooseConfig) -> Path:
    """Return the folder of the results, which is made with the first of them; refuse a file."""
    name = f"{'search' if config.search else 'choice'}-{short_name(config.data)}"
    folder = Path(config.output).expanduser() if config.output else RUNS / name
    above = next(path for path in (folder, *folder.parents) if path.exists())
    if not above.is_dir():
        raise UserError(f"--output was {config.output}, and {above} is a file. Give a folder.")
    return folder


def rank(
    chosen: Sequence[Chosen], data: PreparedData, seed: int, deadline: float
) -> tuple[list[dict[str, Any]], list[str], list[str], float | None]:
    """Return what was measured of each candidate, the finalists, the late ones, and how sure it is that one is best."""
    from tlkeras.selection.extractor import Extractor
    from tlkeras.selection.halving import MOST, Candidate, halve
    from tlkeras.selection.scores import best_probabilities, stratified_order

    rows = data.splits["train"]
    rows = rows[stratified_order(class_labels(data, rows), seed)[:MOST]]
    labels, examples = class_labels(data, rows), [data.examples[row] for row in rows]
    extractors = {one.name: Extractor(one.config, one.spec, modality_of(one.config, one.spec, data), examples)
                  for one in chosen}  # fmt: skip
    candidates = [Candidate(name, extractor) for name, extractor in extractors.items()]
    last, late = halve(candidates, labels, example_groups(data, rows), deadline)
    measured = [one for one in candidates if one.metrics]
    for one in measured:
        extractor = extractors[one.name]
        one.metrics |= {
            "parameters": extractor.parameters, "milliseconds": round(extractor.milliseconds, 2),
            "throughput": round(extractor.throughput, 1), "seconds": round(one.seconds, 2),
        }  # fmt: skip
    measured.sort(key=lambda one: (-one.metrics["images"], *one.rank))
    sure = None
    if len(last) > 1:
        labels = labels[: last[0].metrics["images"]]
        sure = best_probabilities([one.probabilities for one in last if one.probabilities is not None], labels)[0]
    return [{"name": one.name, **one.metrics} for one in measured], [one.name for one in last], late, sure


def train_finalists(
    finalists: Sequence[Chosen], data: PreparedData, ranked: Sequence[dict[str, Any]], deadline: float
) -> tuple[list[dict[str, Any]], float | None, list[str]]:
    """Train both phases of each; return what held-out examples say, the best first, how sure that is, the late ones.

    Each fold is trained by all of them before the next one, and one that not all have time for does not count.
    """
    from tlkeras.selection.scores import best_probabilities, held_out_metrics

    left, late, held_out = list(finalists), list[str](), list[np.ndarray]()
    outputs: dict[str, list[np.ndarray]] = {one.name: [] for one in left}
    seconds = dict.fromkeys(outputs, 0.0)
    for number, fold in enumerate(validation_folds(data, finalists[0].config.seed)):
        found, late_here = dict[str, np.ndarray](), list[str]()
        for one in left:
            begin = time.monotonic()
            facts = next(row for row in ranked if row["name"] == one.name)
            try:
                found[one.name] = train_fold(one, data, fold, facts["throughput"], deadline)
            except OutOfTime:
                late_here.append(one.name)
            except UserError as error:  # such as a loss that became infinite
                log.warning("%s was not trained: %s", one.name, error)
            seconds[one.name] += time.monotonic() - begin
        if number and late_here:
            break
        left, late = [one for one in left if one.name in found], late + late_here
        held_out.append(fold[1])
        for name, given in found.items():
            outputs[name].append(given)
    if not left:
        return [], None, late
    labels = class_labels(data, np.concatenate(held_out))
    whole = [np.concatenate(outputs[one.name]) for one in left]
    rows = [{"name": one.name, "seconds": round(seconds[one.name], 2), **held_out_metrics(given, labels)}
            for one, given in zip(left, whole, strict=True)]  # fmt: skip
    order = sorted(range(len(rows)), key=lambda row: (-rows[row]["accuracy"], rows[row]["loss"]))
    sure = best_probabilities(whole, labels)[order[0]] if len(rows) > 1 else None
    return [rows[row] for row in order], sure, late


def train_fold(
    one: Chosen, data: PreparedData, fold: tuple[np.ndarray, np.ndarray], throughput: float, deadline: float
) -> np.ndarray:
    """Return the outputs `(n, K)` for what a fold holds out; features are computed at so many examples a second.

    Raise `OutOfTime` where training does not end in time, or cannot.
    """
    train, held_out = fold
    if time.monotonic() + (one.config.views * len(train) + len(held_out)) / throughput > deadline:
        raise OutOfTime
    with quiet(f"Training {one.name}"):
        split = dataclasses.replace(data, splits={"train": train, "validation": held_out})
        return train_and_predict(one.config, one.spec, decode_for(one.config, one.spec, split), [stop_at(deadline)])


def find_candidates(config: ChooseConfig) -> tuple[list[Chosen], list[str]]:
    """Return the candidates whose weights are available, and the names of the others."""
    found, missing, reasons = list[Chosen](), list[str](), list[UserError]()
    for name, backbone, size in config.candidates():
        wanted = dataclasses.replace(config.training(), backbone=backbone, image_size=size)
        wanted, spec = configure(wanted, get_backbone_spec(backbone))
        try:
            spec.check_weights(wanted.weights, size or spec.default_size)
            found.append(Chosen(name, wanted, spec))
        except UserError as error:
            missing.append(name)
            reasons.append(error)
    if not found:
        raise UserError(f"No weights of {', '.join(missing)} are available. {reasons[0]}")
    return found, missing


def resolved(chosen: Sequence[Chosen], data: PreparedData) -> tuple[list[Chosen], list[str]]:
    """Return the candidates with all that is known of them, downloaded where it must be, and the names of others."""
    found, missing = list[Chosen](), list[str]()
    for one in chosen:
        try:
            spec = one.spec.resolve()
            if spec.modality not in (None, data.modality.name):
                raise UserError(f"it does not take {data.modality.plural}.")
            found.append(dataclasses.replace(one, spec=spec))
        except UserError as error:
            log.warning("%s was left out: %s", one.name, error)
            missing.append(one.name)
    if not found:
        raise UserError(f"No weights of {', '.join(missing)} are available.")
    return found, missing


def load_data(candidate: Chosen, folder: Path) -> PreparedData:
    """Find, decode and split the examples as a run with one candidate would; load TensorFlow."""
    nothing = Job("", "", lambda *_: None)
    config = candidate.config
    # [part: devices]
    config = dataclasses.replace(config, devices=1)  # which is what computes features, and what a trial trains on
    # [/part]
    _, _, data, *_ = prepare(nothing, config, candidate.spec, folder, folder)
    if data.task != "single_label" or len(data.classes) < 2:
        raise UserError(f"{data.name} has labels of another kind; a choice needs one class each, and two or more.")
    return data


def changed_options(config: TrainConfig) -> dict[str, Any]:
    """Return the options that differ from the defaults."""
    default = dataclasses.asdict(TrainConfig())
    return {name: value for name, value in dataclasses.asdict(config).items() if value != default[name]}


def write_config(config: TrainConfig, folder: Path) -> None:
    """Write the options that differ from the defaults, as `train.py --config` takes them."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(changed_options(config), sort_keys=False, allow_unicode=True)
    write_atomic(folder / "config.yaml", text)
