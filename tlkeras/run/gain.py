"""The whole road of `scripts/transfer_gain.py`: does it help that the backbone was pretrained, on these pictures?"""

import contextlib
import dataclasses
import io
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.backbones import Backbone, check_image_size, find_backbone
from tlkeras.config import AugmentOptions, GainConfig, ScratchOptions, Task
from tlkeras.data.prepare import PreparedData, decode_data, find_data
from tlkeras.data.tfds_name import short_name
from tlkeras.errors import UserError
from tlkeras.run.folder import choose_run_dir, writing
from tlkeras.run.records import write_history, write_yaml
from tlkeras.startup import load_tensorflow
from tlkeras.weight_files import check_weights_option

if TYPE_CHECKING:
    import keras

    from tlkeras.data.pipeline import ExampleSet
    from tlkeras.evaluation.gain import Trial

log = logging.getLogger("tlkeras")

HELD_OUT = 0.2  # share of the pictures that chooses the epoch of the pretrained model


def transfer_gain(config: GainConfig) -> Path:
    """Compare pretrained with random weights at several sizes of the training set.

    Returns:
        The folder with the trials, the table and the plot.

    Raises:
        UserError: for a mistake in options or data; nothing is left behind.
    """
    config.check()
    row = find_backbone(config.backbone)
    check_image_size(row, config.image_size)
    path = choose_run_dir(config.run_dir, config.overwrite, None, f"gain {short_name(config.data)}", row.name)
    with writing(path, config.overwrite) as folder:
        found = find_data(config, row, config.image_size, config.seed)
        dataclasses.replace(config, task=found.source.task).check()
        check_weights_option(row, config.weights, found.form.image_size)
        data = decode_data(found, config, config.seed)
        resolved = dataclasses.replace(
            config, task=data.task, image_size=data.image_size, backbone=row.name, run_dir=str(path), overwrite=False
        )
        load_tensorflow(config.seed)
        write_yaml(folder / "config.yaml", dataclasses.asdict(resolved))
        compare(resolved, row, data, folder)
    print(f"Comparison: {path}")
    return path


def compare(config: GainConfig, row: Backbone, data: PreparedData, folder: Path) -> None:
    """Run all trials, print a line for each size as it is done, and write what came out.

    Args:
        config: all options.
        row: the backbone.
        data: decoded pictures; the same of them are judged in each trial.
        folder: takes `gain.png` and `trials.csv`.
    """
    from tlkeras.evaluation.gain import TITLE, by_size, line, plot_gain, savings

    judged = "test" if "test" in data.splits else "validation"
    seeds = range(config.seed, config.seed + config.seeds)
    trials: list[Trial] = []
    log.info("%s", TITLE)
    for percent in sorted(set(config.percents)):
        with quiet():
            for seed in seeds:
                trials.append(trial(config, row, data, percent, seed))
                write_history(folder / "trials.csv", [row_of(one) for one in trials])
        log.info("%s", line(by_size(trials)[-1]))
    sizes = by_size(trials)
    labels = [data.examples[place].label for place in data.splits[judged]]
    log.info("%s", savings(sizes, max(map(labels.count, labels)) / len(labels)))
    log.info(
        "Intervals of 95 %% are over %d seeds (which pictures, first weights, order); all judge the same %s pictures.",
        config.seeds, f"{len(labels):,}",
    )  # fmt: skip
    title = f"{short_name(config.data)}, {len(labels):,} {judged} pictures, {config.seeds} seeds"
    plot_gain(sizes, f"{title}\n{row.name} at {config.image_size} px", folder / "gain.png")


def trial(config: GainConfig, row: Backbone, data: PreparedData, percent: int, seed: int) -> "Trial":
    """Train both models on the same pictures, and judge them on the same others.

    The pretrained model keeps a fifth of its pictures for the choice of the epoch; the other one, which keeps its last
    epoch, learns from all.

    Args:
        config: all options.
        row: the backbone.
        data: decoded pictures.
        percent: of the pictures that are not judged.
        seed: of the choice of pictures, and of the weights that are random.
    """
    import keras

    from tlkeras.data.pipeline import example_sets
    from tlkeras.evaluation.gain import Trial

    keras.backend.clear_session()  # of the models of the trial before
    train, validation = take_share(data, percent, seed)
    judged = data.splits.get("test", data.splits["validation"])
    everything = np.sort(np.concatenate([train, validation]))
    splits = {"train": train, "validation": validation, "everything": everything, "judged": judged}
    sets = example_sets(dataclasses.replace(data, splits=splits))
    accuracy, seconds = {}, {}
    for arm, run in (("pretrained", train_pretrained), ("random", train_random)):
        accuracy[arm], seconds[arm] = run(config, row, data.task, sets, seed)
    return Trial(percent, len(everything), seed, accuracy, seconds)


def take_share(data: PreparedData, percent: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some of the pictures that are not judged, of each class as many in proportion, and two at least.

    What a smaller share of one seed holds a larger one holds too.

    Args:
        data: decoded pictures.
        percent: how many of them, 1 to 100.
        seed: of the choice.

    Returns:
        Indices of pictures to learn from and of pictures that choose the epoch, about a fifth.

    Raises:
        UserError: a class has one picture only.
    """
    names = ("train", "validation") if "test" in data.splits else ("train",)
    rows = np.sort(np.concatenate([data.splits[name] for name in names]))
    labels = np.array([data.examples[place].label for place in rows])
    train, validation = [], []
    for number, name in enumerate(data.classes):
        of_class = np.random.default_rng([seed, number]).permutation(rows[labels == name])
        if len(of_class) < 2:
            raise UserError(f"Of the class {name}, {len(of_class)} pictures are not judged; a comparison needs two.")
        count = max(2, round(percent / 100 * len(of_class)))
        held = max(1, round(HELD_OUT * count))
        validation.append(of_class[:held])
        train.append(of_class[held:count])
    return np.sort(np.concatenate(train)), np.sort(np.concatenate(validation))


def train_pretrained(
    config: GainConfig, row: Backbone, task: Task, sets: dict[str, "ExampleSet"], seed: int
) -> tuple[float, float]:
    """Train in two phases from the pretrained weights; features are never read from disk.

    Args:
        config: all options.
        row: the backbone.
        task: what a label is.
        sets: the splits by name.
        seed: of weights, order and augmentation.

    Returns:
        Accuracy, and seconds of the training.
    """
    import keras

    from tlkeras.run.train import build
    from tlkeras.training.two_phase import train_two_phases

    keras.utils.set_random_seed(seed)
    model = build(config, row, task, sets["train"])
    start = time.perf_counter()
    train_two_phases(model, sets["train"], sets["validation"], dataclasses.replace(config, seed=seed, cache_disk=0.0))
    return judged_accuracy(model, sets, config, task, time.perf_counter() - start)


def train_random(
    config: GainConfig, row: Backbone, task: Task, sets: dict[str, "ExampleSet"], seed: int
) -> tuple[float, float]:
    """Train the same model from random weights, by the recipe of `scripts/pretrain.py`.

    Args:
        config: all options.
        row: the backbone.
        task: what a label is.
        sets: the splits by name.
        seed: of weights, order and augmentation.

    Returns:
        Accuracy, and seconds of the training.
    """
    import keras

    from tlkeras.data.pipeline import steps_per_epoch
    from tlkeras.run.train import build
    from tlkeras.training.from_scratch import train_from_scratch

    keras.utils.set_random_seed(seed)
    model = build(dataclasses.replace(config, weights="none"), row, task, sets["everything"])
    augmentation = {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(AugmentOptions)}
    steps = steps_per_epoch(len(sets["everything"]), config.batch_size)
    epochs = max(config.scratch_epochs, steps_per_epoch(config.scratch_steps, steps))
    options = ScratchOptions(**augmentation, epochs=epochs, batch_size=config.batch_size, seed=seed)
    start = time.perf_counter()
    train_from_scratch(model, sets["everything"], None, options)
    return judged_accuracy(model, sets, config, task, time.perf_counter() - start)


def judged_accuracy(
    model: "keras.Model", sets: dict[str, "ExampleSet"], config: GainConfig, task: Task, seconds: float
) -> tuple[float, float]:
    """Accuracy on the pictures that are judged, and the seconds.

    Args:
        model: trained.
        sets: the splits by name.
        config: its batch size is used.
        task: what a label is.
        seconds: of the training, passed on.
    """
    from tlkeras.run.train import judge
    from tlkeras.training.roads import training_view

    figures = judge(training_view(model), {"judged": sets["judged"]}, config.batch_size, task)
    return figures["judged"]["accuracy"], seconds


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what the single trainings say out of the terminal: the table is what counts."""
    tensorflow = logging.getLogger("tensorflow")  # which wonders about so many models in one program
    levels = log.level, tensorflow.level
    log.setLevel(logging.WARNING)
    tensorflow.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(levels[0])
        tensorflow.setLevel(levels[1])


def row_of(one: "Trial") -> dict[str, float]:
    """A trial as a row of `trials.csv`."""
    row = {"percent": one.percent, "pictures": one.images, "seed": one.seed}
    row |= {f"accuracy_{arm}": value for arm, value in one.accuracy.items()}
    return row | {f"seconds_{arm}": round(value, 2) for arm, value in one.seconds.items()}
