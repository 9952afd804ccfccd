"""The whole road of `scripts/learning_curve.py`: does it help that the backbone was pretrained, on these pictures?"""

import contextlib
import dataclasses
import io
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.backbones import Backbone, check_image_size, get_backbone_spec
from tlkeras.config import LearningCurveConfig
from tlkeras.data.prepare import PreparedData, decode_data, find_data
from tlkeras.data.loading import available_cores
from tlkeras.data.tfds.name import short_name
from tlkeras.run.initial_weights import initial_weights
from tlkeras.run.folder import CHECKPOINTS, choose_run_dir, is_complete, run_directory
from tlkeras.run.fingerprint import check_finished, check_fingerprint
from tlkeras.run.artifacts import versions, write_history, write_json, write_yaml
from tlkeras.run.learning_curve_run import all_layers_options, trial
from tlkeras.runtime import load_tensorflow
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.backbones.unfreeze import parse_unfreeze
from tlkeras.backbones.weight_files import check_weights_option

if TYPE_CHECKING:
    from tlkeras.evaluation.learning_curve import Trial

log = logging.getLogger("tlkeras")

TABLE = "trials.csv"


def learning_curve(config: LearningCurveConfig) -> Path:
    """Compare pretrained with random weights at several sizes of the training set, or go on after the last trial.

    Args:
        config: all options.

    Returns:
        The folder with the trials, the table and the plot.

    Raises:
        UserError: for a mistake in options or data; nothing is left behind.
    """
    config.check()
    spec = get_backbone_spec(config.backbone)
    check_image_size(spec, config.image_size)
    parse_unfreeze(spec, config.unfreeze or spec.finetune_from)
    name = f"gain {short_name(config.data)}"
    path = choose_run_dir(config.run_dir, config.overwrite, TABLE if config.resume else None, name, spec.name)
    if config.resume and is_complete(path, TABLE):
        check_finished(path / "config.yaml", dataclasses.replace(config, backbone=spec.name))
        print(f"Comparison: {path} (finished before)")
        return path
    with run_directory(path, config.overwrite, config.resume) as folder:
        found = find_data(config, spec, config.image_size, config.seed)
        dataclasses.replace(config, task=found.source.task).check()
        check_weights_option(spec, config.weights, found.form.image_size)
        data = decode_data(found, config, config.seed)
        resolved = dataclasses.replace(
            config.with_defaults(spec.finetune_from), task=data.task, image_size=data.image_size, backbone=spec.name,
            run_dir=str(path), overwrite=False, resume=False,
        )  # fmt: skip
        first = initial_weights(spec, config.weights)
        digest = first and first.digest
        check_fingerprint(folder / CHECKPOINTS, resolved, data, digest)
        load_tensorflow(config.seed)
        write_yaml(folder / "config.yaml", dataclasses.asdict(resolved))
        compare(resolved, spec, data, folder)
        about = {"weights_sha256": digest, "cpu_count": available_cores(), "versions": versions()}
        write_json(folder / "about.json", about | {"all_layers": dataclasses.asdict(all_layers_options(resolved))})
    print(f"Comparison: {path}")
    return path


def compare(config: LearningCurveConfig, spec: Backbone, data: PreparedData, folder: Path) -> None:
    """Run all trials, print the figures of each size as it is done, and write what came out.

    Args:
        config: all options.
        row: the backbone.
        data: decoded pictures; the same of them are judged in each trial.
        folder: takes `gain.png`, `trials.csv`, and a checkpoint after each trial.
    """
    from tlkeras.evaluation.learning_curve import TITLE, Trial, by_size, lines, plot_learning_curve, savings

    judged = "test" if "test" in data.splits else "validation"
    checkpoints = Checkpoints(folder / CHECKPOINTS)
    saved = checkpoints.latest()
    trials = [Trial(**one) for one in saved.state["trials"]] if saved else []
    count = len(set(config.train_sizes)) * config.seeds
    for place, percent in enumerate(sorted(set(config.train_sizes))):
        for seed in range(config.seed, config.seed + config.seeds):
            if any((one.percent, one.seed) == (percent, seed) for one in trials):
                continue
            with quiet(f"{percent} %, seed {seed}"):
                trials.append(trial(config, spec, data, percent, seed))
            if len(trials) == 1:
                log.info("The first of %d trials took %.0f s.", count, sum(trials[0].seconds.values()))
            checkpoints.write(len(trials), {}, {"trials": [dataclasses.asdict(one) for one in trials]})
        if place == 0:
            log.info("%s", TITLE)
        log.info("%s", lines(by_size(trials)[place]))
    write_history(folder / TABLE, [get_spec(one) for one in trials])
    sizes = by_size(trials)
    labels = Counter(data.examples[place].label for place in data.splits[judged])
    log.info("%s", savings(sizes, max(labels.values()) / labels.total()))
    log.info(
        "Intervals of 95 %% are over %d seeds (which pictures, first weights, order); all judge the same %s pictures.\n"
        "Seconds are those of whole trainings; nothing stops where an accuracy is reached.",
        config.seeds, f"{labels.total():,}",
    )  # fmt: skip
    title = f"{short_name(config.data)}, {labels.total():,} {judged} pictures, {config.seeds} seeds"
    weights = config.weights if config.weights in ("imagenet", "bundled") else Path(config.weights).name
    plot_learning_curve(sizes, f"{title}\n{spec.name} at {config.image_size} px, weights {weights}", folder / "gain.png")


@contextlib.contextmanager
def quiet(doing: str) -> Iterator[None]:
    """Keep what a single training says out of the terminal, where instead a passing word says what is being done."""
    tensorflow = logging.getLogger("tensorflow")  # which wonders about so many models in one program
    levels = log.level, tensorflow.level
    log.setLevel(logging.WARNING)
    tensorflow.setLevel(logging.ERROR)
    watched = sys.stderr.isatty()
    try:
        if watched:
            print(f"\r{doing} …", end="", file=sys.stderr, flush=True)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        log.setLevel(levels[0])
        tensorflow.setLevel(levels[1])


def get_spec(one: "Trial") -> dict[str, float]:
    """A trial as a row of `trials.csv`."""
    spec = {"percent": one.percent, "pictures": one.images, "seed": one.seed}
    spec |= {f"accuracy_{arm}": value for arm, value in one.accuracy.items()}
    return spec | {f"seconds_{arm}": round(value, 2) for arm, value in one.seconds.items()}
