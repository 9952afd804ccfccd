"""One trial of `tlkeras.run.learning_curve`: one model from pretrained and from random weights, on the same pictures."""

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.backbones import Backbone
from tlkeras.config import AugmentOptions, LearningCurveConfig, AllLayersOptions, Task
from tlkeras.data.prepare import PreparedData

if TYPE_CHECKING:
    import keras

    from tlkeras.data.pipeline import SplitData
    from tlkeras.evaluation.learning_curve import Trial


def trial(config: LearningCurveConfig, spec: Backbone, data: PreparedData, percent: int, seed: int) -> "Trial":
    """Train each arm on the same pictures, and judge it on the same others.

    All layers of two models learn by the recipe of `scripts/pretrain.py`, one from random and one from pretrained
    weights, so that nothing but the first weights tells them apart. A third one learns in two phases, as
    `scripts/train.py` does it, which takes less time.

    No picture is set aside to choose an epoch, as a fifth of a dozen chooses by chance.

    Args:
        config: all options.
        row: the backbone.
        data: decoded pictures.
        percent: of the pictures that are not judged.
        seed: of the choice of pictures, and of the weights that are random.
    """
    import keras

    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.learning_curve import Trial

    keras.backend.clear_session()  # of the models of the trial before
    share, judged = subsample(data, percent, seed), data.splits.get("test", data.splits["validation"])
    sets = split_data(dataclasses.replace(data, splits={"train": share, "judged": judged}))
    accuracy, seconds = {}, {}
    for arm, run, options in (
        ("random", all_layers, dataclasses.replace(config, weights="none")),
        ("all_layers", all_layers, config),
        ("two_phases", two_phases, config),
    ):
        accuracy[arm], seconds[arm] = run(options, spec, data.task, sets, seed)
    return Trial(percent, len(share), seed, accuracy, seconds)


def subsample(data: PreparedData, percent: int, seed: int) -> np.ndarray:
    """Some of the pictures that are not judged, of each class as many in proportion, and one at least.

    What a smaller share of one seed holds a larger one holds too.

    Args:
        data: decoded pictures.
        percent: how many of them, 1 to 100.
        seed: of the choice.

    Returns:
        Their indices `(n,)`, sorted.
    """
    names = ("train", "validation") if "test" in data.splits else ("train",)
    rows = np.sort(np.concatenate([data.splits[name] for name in names]))
    labels = np.array([data.examples[place].label for place in rows])
    chosen = []
    for number, name in enumerate(data.classes):
        of_class = np.random.default_rng([seed, number]).permutation(rows[labels == name])
        chosen.append(of_class[: max(1, round(percent / 100 * len(of_class)))])
    return np.sort(np.concatenate(chosen))


def two_phases(
    config: LearningCurveConfig, spec: Backbone, task: Task, sets: dict[str, "ExampleSet"], seed: int
) -> tuple[float, float]:
    """Train in two phases, as `scripts/train.py` does; features are never read from disk.

    The epoch that is kept is the one that fits its own pictures best, in general the last.

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
    model = build(config, spec, task, sets["train"])
    epochs = config.finetune_epochs and epochs_of(sets, config, config.finetune_epochs, config.finetune_steps)
    options = dataclasses.replace(config, seed=seed, cache_gb=0.0, finetune_epochs=epochs)
    start = time.perf_counter()
    train_two_phases(model, sets["train"], sets["train"], options)
    return evaluate_accuracy(model, sets, config, task, time.perf_counter() - start)


def all_layers(
    config: LearningCurveConfig, spec: Backbone, task: Task, sets: dict[str, "ExampleSet"], seed: int
) -> tuple[float, float]:
    """Train all layers and BatchNormalization from the first step on, by the recipe of `scripts/pretrain.py`.

    Args:
        config: all options; its weights are the first ones.
        row: the backbone.
        task: what a label is.
        sets: the splits by name.
        seed: of weights, order and augmentation.

    Returns:
        Accuracy, and seconds of the training.
    """
    import keras

    from tlkeras.run.train import build
    from tlkeras.training.all_layers import train_all_layers

    keras.utils.set_random_seed(seed)
    model = build(config, spec, task, sets["train"])
    epochs = epochs_of(sets, config, config.all_layers_epochs, config.all_layers_steps)
    options = dataclasses.replace(all_layers_options(config), epochs=epochs, seed=seed)
    start = time.perf_counter()
    train_all_layers(model, sets["train"], None, options)
    return evaluate_accuracy(model, sets, config, task, time.perf_counter() - start)


def all_layers_options(config: LearningCurveConfig) -> AllLayersOptions:
    """How all layers are trained: augmentation and batches as in two phases, the rest as in `scripts/pretrain.py`."""
    augmentation = {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(AugmentOptions)}
    return AllLayersOptions(**augmentation, epochs=config.all_layers_epochs, batch_size=config.batch_size, seed=config.seed)


def epochs_of(sets: dict[str, "ExampleSet"], config: LearningCurveConfig, epochs: int, steps: int) -> int:
    """So many epochs, or as many more as it takes to make a number of steps.

    Args:
        sets: the splits by name.
        config: its batch size is used.
        epochs: how many there are at least.
        steps: how many there are in all of them at least.
    """
    from tlkeras.data.pipeline import steps_per_epoch

    return max(epochs, math.ceil(steps / steps_per_epoch(len(sets["train"]), config.batch_size)))


def evaluate_accuracy(
    model: "keras.Model", sets: dict[str, "ExampleSet"], config: LearningCurveConfig, task: Task, seconds: float
) -> tuple[float, float]:
    """Accuracy on the pictures that are judged, and the seconds.

    Args:
        model: trained.
        sets: the splits by name.
        config: its batch size is used.
        task: what a label is.
        seconds: of the training, passed on.
    """
    from tlkeras.run.train import evaluate_splits
    from tlkeras.training.phase_inputs import without_resizing

    figures = evaluate_splits(without_resizing(model), {"judged": sets["judged"]}, config.batch_size, task)
    return figures["judged"]["accuracy"], seconds
