"""The work of `scripts/learning_curve.py`: does it help that the backbone was pretrained, on these images?"""

import contextlib
import dataclasses
import io
import logging
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tlkeras.backbones.registry import get_application_spec
from tlkeras.config.learning_curve import LearningCurveConfig
from tlkeras.data.loading import available_cores
from tlkeras.data.sources import short_name
from tlkeras.run.artifacts import versions, write_json, write_table, write_yaml
from tlkeras.run.folder import CHECKPOINTS
from tlkeras.run.job import Inputs, Job, run_job
from tlkeras.run.learning_curve_run import all_layers_options, run_variants
from tlkeras.run.train import check_unfreeze
from tlkeras.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from tlkeras.evaluation.learning_curve import Run

log = logging.getLogger("tlkeras")

TABLE = "runs.csv"


def learning_curve(config: LearningCurveConfig) -> Path:
    """Compare pretrained with random weights at several sizes of the training set, or resume after the last run.

    Args:
        config: all options.

    Returns:
        The folder with the runs, the table and the plot.

    Raises:
        UserError: for a mistake in options or data; nothing is left behind.
    """
    config.check()
    job = Job(
        "Learning curve",
        TABLE,
        measure_and_write,
        prefix="learning curve",
        check=check_unfreeze,
        resolve=lambda config, spec: config.with_defaults(spec.finetune_from),
    )
    return run_job(job, config, get_application_spec(config.backbone))


def measure_and_write(job: Inputs) -> None:
    """Do all runs, print the metrics of each size when it is done, and write everything into the folder."""
    from tlkeras.evaluation.learning_curve import HEADER, by_size, plot_learning_curve, savings, table_rows

    config, data, folder = job.config, job.data, job.folder
    write_yaml(folder / "config.yaml", dataclasses.asdict(config))
    runs: list[Run] = []
    for size in run_sizes(job):
        if not runs:
            log.info("%s", HEADER)
        runs += size
        log.info("%s", table_rows(by_size(runs)[-1]))
    write_table(folder / TABLE, [as_row(run) for run in runs])
    evaluated = "test" if "test" in data.splits else "validation"
    labels = Counter(data.examples[index].label for index in data.splits[evaluated])
    log.info("%s", savings(by_size(runs), max(labels.values()) / labels.total()))
    log.info(
        "95%% confidence intervals are over %d seeds (subset, initial weights, order), all with the same %s test "
        "images.\nSeconds are those of whole trainings; nothing stops where an accuracy is reached.",
        config.seeds, f"{labels.total():,}",
    )  # fmt: skip
    title = f"{short_name(config.data)}, {labels.total():,} {evaluated} images, {config.seeds} seeds"
    weights = config.weights if config.weights in ("imagenet", "bundled") else Path(config.weights).name
    title = f"{title}\n{job.spec.name} at {config.image_size} px, weights {weights}"
    plot_learning_curve(by_size(runs), title, folder / "learning_curve.png")
    digest = job.initial.digest if job.initial else None
    metadata = {"weights_sha256": digest, "cpu_count": available_cores(), "versions": versions()}
    write_json(folder / "metadata.json", metadata | {"all_layers": dataclasses.asdict(all_layers_options(config))})


def run_sizes(job: Inputs) -> Iterator[list["Run"]]:
    """Yield the runs of each size, the smallest first; a checkpoint is written after each run."""
    from tlkeras.evaluation.learning_curve import Run

    config, checkpoints = job.config, Checkpoints(job.folder / CHECKPOINTS)
    saved = checkpoints.latest()
    runs = [Run(**values) for values in saved.state["runs"]] if saved else []
    sizes = sorted(set(config.train_sizes))
    for percent in sizes:
        for seed in range(config.seed, config.seed + config.seeds):
            if any((run.percent, run.seed) == (percent, seed) for run in runs):
                continue
            with quiet(f"{percent}%, seed {seed}"):
                runs.append(run_variants(job, percent, seed))
            if len(runs) == 1:
                log.info("The first of %d runs took %.0f s.", len(sizes) * config.seeds, sum(runs[0].seconds.values()))
            checkpoints.write(len(runs), {}, {"runs": [dataclasses.asdict(run) for run in runs]})
        yield [run for run in runs if run.percent == percent]


@contextlib.contextmanager
def quiet(title: str) -> Iterator[None]:
    """Keep the lines of a single training off the terminal, where a transient title stands instead."""
    tensorflow = logging.getLogger("tensorflow")  # which warns about so many models in one program
    levels = log.level, tensorflow.level
    log.setLevel(logging.WARNING)
    tensorflow.setLevel(logging.ERROR)
    watched = sys.stderr.isatty()
    try:
        if watched:
            print(f"\r{title} …", end="", file=sys.stderr, flush=True)
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        if watched:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        log.setLevel(levels[0])
        tensorflow.setLevel(levels[1])


def as_row(run: "Run") -> dict[str, float]:
    """Return a run as a row of `runs.csv`."""
    row: dict[str, float] = {"percent": run.percent, "images": run.images, "seed": run.seed}
    row |= {f"accuracy_{variant}": value for variant, value in run.accuracy.items()}
    return row | {f"seconds_{variant}": round(value, 2) for variant, value in run.seconds.items()}
