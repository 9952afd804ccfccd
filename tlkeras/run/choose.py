"""The work of `scripts/choose.py`: candidates in, a ranking and the options of the best one out."""

import dataclasses
import logging
import math
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.choose import ChooseConfig
from tlkeras.config.train import TrainConfig
from tlkeras.data.duplicates import SIDE, link, near_duplicates, without_crowds
from tlkeras.data.loading import sample
from tlkeras.data.prepare import PreparedData
from tlkeras.data.sources import short_name
from tlkeras.errors import UserError
from tlkeras.io.atomic import write_atomic
from tlkeras.run.artifacts import write_yaml
from tlkeras.run.folder import RUNS, log_file
from tlkeras.run.job import Job, configure, prepare

log = logging.getLogger("tlkeras")
SHARE = 0.5  # of the budget, for features; the rest is for both phases of the best two


@dataclass(frozen=True)
class Chosen:
    """A candidate whose weights are to be had."""

    name: str
    config: TrainConfig
    spec: BackboneSpec


def choose(config: ChooseConfig) -> dict[str, Any]:
    """Rank backbones, write `config.yaml` of the best one, and return what was measured."""
    start = time.monotonic()
    limit = math.inf if config.budget is None else 60 * config.budget
    candidates, missing = find_candidates(config)
    folder = Path(config.output) if config.output else RUNS / f"choice-{short_name(config.data)}"
    with tempfile.TemporaryDirectory() as name, log_file(Path(name, "log.txt")):
        data = load_data(candidates[0], Path(name))
        from tlkeras.selection.halving import Candidate, halve
        from tlkeras.selection.scores import best_probabilities, stratified_order

        labels, groups, rows = training_labels(data)
        examples = [data.examples[row] for row in rows]
        extractors = {one.name: make_extractor(one, data, examples) for one in candidates}
        measured = [Candidate(name, extractor) for name, extractor in extractors.items()]
        order = stratified_order(labels, config.seed)
        finalists, late = halve(measured, labels, groups, order, start + SHARE * limit)
    if not finalists:
        raise UserError(f"--budget {config.budget} is too short for any candidate; give more minutes.")
    size = len(finalists[0].features)
    sure = best_probabilities([one.probabilities for one in finalists], labels[order[:size]])
    for one in measured:
        one.metrics |= {"parameters": extractors[one.name].parameters, "seconds": round(one.seconds, 2),
                        "milliseconds": round(extractors[one.name].milliseconds, 2)}  # fmt: skip
    best = next(one for one in candidates if one.name == finalists[0].name)
    write_config(best.config, folder)
    ranked = [one for one in measured if one.name not in late]
    ranked.sort(key=lambda one: (-one.metrics["images"], *one.rank))
    return {
        "data": config.data, "unit": data.modality.plural, "missing": missing, "late": late,
        "candidates": [{"name": one.name, **one.metrics} for one in ranked],
        "probability": sure[0], "best": best.name, "config": str(folder / "config.yaml"),
    }  # fmt: skip


def find_candidates(config: ChooseConfig) -> tuple[list[Chosen], list[str]]:
    """Return the candidates whose weights are to be had, and the names of the others."""
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
        raise UserError(f"No weights of {', '.join(missing)} are to be had. {reasons[0]}")
    return found, missing


def load_data(candidate: Chosen, folder: Path) -> PreparedData:
    """Find, decode and split the examples as a run with one candidate would; load TensorFlow."""
    nothing = Job("", "", lambda *_: None)
    _, _, data, *_ = prepare(nothing, candidate.config, candidate.spec, folder, folder)
    if data.task != "single_label" or len(data.classes) < 2:
        raise UserError(f"{data.name} has labels of another kind; a choice needs one class each, and two or more.")
    return data


def training_labels(data: PreparedData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return class indices, groups of copies, and the rows of the training examples, each `(N,)`."""
    rows = data.splits["train"]
    labels = np.array([data.classes.index(str(data.examples[row].label)) for row in rows])
    digests = [data.digests[row] for row in rows]
    near = near_duplicates(data.modality.thumbnails(data.inputs[rows], SIDE), digests)
    groups = link(len(rows), without_crowds(near, len(rows)), digests, [data.examples[row].group for row in rows])
    return labels, groups, rows


def make_extractor(candidate: Chosen, data: PreparedData, examples: list) -> Any:
    """Return what computes features of training examples, decoded in the candidate's own size."""
    from tlkeras.selection.extractor import Extractor

    spec = candidate.spec.resolve()
    modality = type(data.modality).resolve(spec, dataclasses.asdict(candidate.config), partial(sample, data.examples))
    return Extractor(candidate.config, spec, modality, examples)


def write_config(config: TrainConfig, folder: Path) -> None:
    """Write the options that differ from the defaults, as `train.py --config` takes them."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    default = dataclasses.asdict(TrainConfig())
    values = {name: value for name, value in dataclasses.asdict(config).items() if value != default[name]}
    write_atomic(folder / "config.yaml", yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
