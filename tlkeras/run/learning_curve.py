"""The work of `scripts/learning_curve.py`: does it help that the backbone was pretrained, on these images?"""

import dataclasses
import logging
import math
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.backbones.registry import get_application_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.learning_curve import LearningCurveConfig
from tlkeras.config.pretrain import AllLayersOptions
from tlkeras.config.train import AugmentOptions
from tlkeras.data.loading import available_cores
from tlkeras.data.prepare import PreparedData
from tlkeras.data.sources import short_name
from tlkeras.data.splits import draw_per_class
from tlkeras.run.artifacts import versions, write_json, write_table, write_yaml
from tlkeras.run.folder import CHECKPOINTS
from tlkeras.run.job import Job, run_job
from tlkeras.run.quiet import quiet
from tlkeras.training.checkpoint import Checkpoints

if TYPE_CHECKING:
    from tlkeras.data.pipeline import SplitData
    from tlkeras.evaluation.learning_curve import Run

log = logging.getLogger("tlkeras")

TABLE = "runs.csv"


def learning_curve(config: LearningCurveConfig) -> Path:
    """Compare pretrained with random weights at several sizes of the training set, or resume after the last run."""
    config.check()
    # [part: devices]
    config = dataclasses.replace(config, devices=1)  # "auto" would test how several work together
    # [/part]
    job = Job("Learning curve", TABLE, measure_and_write, prefix="learning curve")
    return run_job(job, config, get_application_spec(config.backbone))


def measure_and_write(
    config: LearningCurveConfig, spec: BackboneSpec, data: PreparedData, folder: Path, weights_hash: str | None
) -> None:
    """Do all runs, print the metrics of each size when it is done, and write everything into the folder."""
    from tlkeras.evaluation import learning_curve as curve

    write_yaml(folder / "config.yaml", dataclasses.asdict(config))
    runs: list[Run] = []
    for size in run_sizes(config, spec, data, folder):
        if not runs:
            log.info("%s", curve.HEADER)
        runs += size
        log.info("%s", curve.table_rows(curve.by_size(runs)[-1]))
    rows = [
        {"percent": run.percent, "images": run.images, "seed": run.seed}
        | {f"accuracy_{variant}": value for variant, value in run.accuracy.items()}
        | {f"seconds_{variant}": round(value, 2) for variant, value in run.seconds.items()}
        for run in runs
    ]
    write_table(folder / TABLE, rows)
    evaluated = "test" if "test" in data.splits else "validation"
    labels = Counter(data.examples[index].label for index in data.splits[evaluated])
    log.info("%s", curve.savings(curve.by_size(runs), max(labels.values()) / labels.total()))
    few = f"Means, which have no confidence interval below {curve.MIN_SEEDS} seeds,"
    log.info(
        "%s are over %d seeds (subset, initial weights, order), all with the same %s test images.\n"
        "Seconds are those of whole trainings; nothing stops where an accuracy is reached.",
        few if config.seeds < curve.MIN_SEEDS else "95% confidence intervals", config.seeds, f"{labels.total():,}",
    )  # fmt: skip
    title = f"{short_name(config.data)}, {labels.total():,} {evaluated} images, {config.seeds} seeds"
    weights = config.weights if config.weights in ("imagenet", "bundled") else Path(config.weights).name
    title = f"{title}\n{spec.name} at {config.image_size} px, weights {weights}"
    curve.plot_learning_curve(curve.by_size(runs), title, folder / "learning_curve.png")
    metadata = {"weights_sha256": weights_hash, "cpu_count": available_cores(), "versions": versions()}
    write_json(folder / "metadata.json", metadata | {"all_layers": dataclasses.asdict(all_layers_options(config))})


def run_sizes(
    config: LearningCurveConfig, spec: BackboneSpec, data: PreparedData, folder: Path
) -> Iterator[list["Run"]]:
    """Yield the runs of each size, the smallest first; a checkpoint is written after each run."""
    from tlkeras.evaluation.learning_curve import Run

    checkpoints = Checkpoints(folder / CHECKPOINTS)
    saved = checkpoints.latest()
    runs = [Run(**values) for values in saved.state["runs"]] if saved else []
    sizes = sorted(set(config.train_sizes))
    for percent in sizes:
        for seed in range(config.seed, config.seed + config.seeds):
            if any((run.percent, run.seed) == (percent, seed) for run in runs):
                continue
            with quiet(f"{percent}%, seed {seed}"):
                runs.append(run_variants(config, spec, data, percent, seed))
            if len(runs) == 1:
                log.info("The first of %d runs took %.0f s.", len(sizes) * config.seeds, sum(runs[0].seconds.values()))
            checkpoints.write(len(runs), {}, {"runs": [dataclasses.asdict(run) for run in runs]})
        yield [run for run in runs if run.percent == percent]


def run_variants(config: LearningCurveConfig, spec: BackboneSpec, data: PreparedData, percent: int, seed: int) -> "Run":
    """Train each variant on the same images, a percentage of those that are not evaluated; evaluate it on the others.

    All layers of two models are trained by the recipe of `scripts/pretrain.py`, one from random and one from pretrained
    weights, so that nothing but the initial weights differs. A third one is trained in two phases, as
    `scripts/train.py` does it, which takes less time.

    No image is held out to choose an epoch, as a fifth of a dozen chooses by chance.
    """
    import keras

    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.learning_curve import Run

    keras.backend.clear_session()  # of the models of the run before
    train, test = subsample(data, percent, seed), data.splits.get("test", data.splits["validation"])
    splits = split_data(dataclasses.replace(data, splits={"train": train, "test": test}))
    scratch = dataclasses.replace(config, weights="none")
    results = {
        "random": train_variant(scratch, spec, data, splits, seed, phases=1),
        "all_layers": train_variant(config, spec, data, splits, seed, phases=1),
        "two_phases": train_variant(config, spec, data, splits, seed, phases=2),
    }
    accuracy = {variant: result[0] for variant, result in results.items()}
    return Run(percent, len(train), seed, accuracy, {variant: result[1] for variant, result in results.items()})


def subsample(data: PreparedData, percent: int, seed: int) -> np.ndarray:
    """Choose a percentage of the images that are not evaluated, stratified, and at least one of each class.

    A smaller subset of one seed is part of a larger one. Their indices `(n,)` are sorted.
    """
    names = ("train", "validation") if "test" in data.splits else ("train",)
    rows = np.sort(np.concatenate([data.splits[name] for name in names]))
    return draw_per_class(rows, data.examples, data.classes, lambda count: max(1, round(percent / 100 * count)), seed)


def train_variant(
    config: LearningCurveConfig, spec: BackboneSpec, data: PreparedData, splits: dict[str, "SplitData"], seed: int,
    phases: int,
) -> tuple[float, float]:  # fmt: skip
    """Train one variant; return its accuracy on the test images, and the seconds of the training.

    In one phase all layers and BatchNormalization are trained from the first step on. In two, features are never read
    from disk, and the epoch that is kept is the one that fits its own images best, in general the last.
    """
    import keras

    from tlkeras.evaluation.outputs import head_outputs, pooled_features
    from tlkeras.run.train import build, evaluate_splits
    from tlkeras.training.all_layers import train_all_layers
    from tlkeras.training.two_phase import train_two_phases

    keras.utils.set_random_seed(seed)
    train = splits["train"]
    model = build(config, spec, train)
    start = time.perf_counter()
    if phases == 1:
        epochs = count_epochs(len(train), config, config.all_layers_epochs, config.all_layers_steps)
        train_all_layers(model, train, None, dataclasses.replace(all_layers_options(config), epochs=epochs, seed=seed))
    else:
        wanted = config.finetune_epochs or 0
        epochs = wanted and count_epochs(len(train), config, wanted, config.finetune_steps)
        options = dataclasses.replace(config, seed=seed, cache_gb=0.0, finetune_epochs=epochs)
        train_two_phases(model, train, train, options)
    seconds = time.perf_counter() - start
    outputs = head_outputs(model, pooled_features(model, {"test": splits["test"]}, config))
    metrics = evaluate_splits(outputs, splits, data.task)
    return metrics["test"]["accuracy"], seconds


def all_layers_options(config: LearningCurveConfig) -> AllLayersOptions:
    """Return how all layers are trained: augmentation and batches as in two phases, the rest as in pretraining."""
    augmentation = {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(AugmentOptions)}
    return AllLayersOptions(
        **augmentation, epochs=config.all_layers_epochs, batch_size=config.batch_size, seed=config.seed
    )


def count_epochs(images: int, config: LearningCurveConfig, epochs: int, steps: int) -> int:
    """Return so many epochs, or as many more as it takes to make a number of steps."""
    from tlkeras.data.pipeline import steps_per_epoch

    return max(epochs, math.ceil(steps / steps_per_epoch(images, config.batch_size)))
