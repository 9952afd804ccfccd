"""One run of a learning curve: a model from pretrained and from random weights, on the same images."""

import dataclasses
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.fields import Task
from tlkeras.config.learning_curve import LearningCurveConfig
from tlkeras.config.pretrain import AllLayersOptions
from tlkeras.config.train import AugmentOptions
from tlkeras.data.prepare import PreparedData
from tlkeras.run.job import Inputs

if TYPE_CHECKING:
    import keras

    from tlkeras.data.pipeline import SplitData
    from tlkeras.evaluation.learning_curve import Run


def run_variants(job: Inputs, percent: int, seed: int) -> "Run":
    """Train each variant on the same images, and evaluate it on the same others.

    All layers of two models are trained by the recipe of `scripts/pretrain.py`, one from random and one from pretrained
    weights, so that nothing but the initial weights differs. A third one is trained in two phases, as
    `scripts/train.py` does it, which takes less time.

    No image is held out to choose an epoch, as a fifth of a dozen chooses by chance.

    Args:
        job: config, backbone and data.
        percent: of the images that are not evaluated.
        seed: of the subset, and of the weights that are random.
    """
    import keras

    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.learning_curve import Run

    config, spec, data = job.config, job.spec, job.data
    keras.backend.clear_session()  # of the models of the run before
    train, test = subsample(data, percent, seed), data.splits.get("test", data.splits["validation"])
    splits = split_data(dataclasses.replace(data, splits={"train": train, "test": test}))
    accuracy, seconds = {}, {}
    for variant, run, options in (
        ("random", all_layers, dataclasses.replace(config, weights="none")),
        ("all_layers", all_layers, config),
        ("two_phases", two_phases, config),
    ):
        accuracy[variant], seconds[variant] = run(options, spec, data.task, splits, seed)
    return Run(percent, len(train), seed, accuracy, seconds)


def subsample(data: PreparedData, percent: int, seed: int) -> np.ndarray:
    """Choose some of the images that are not evaluated, stratified, and at least one of each class.

    A smaller subset of one seed is part of a larger one.

    Args:
        data: decoded images.
        percent: how many of them, 1 to 100.
        seed: of the choice.

    Returns:
        Their indices `(n,)`, sorted.
    """
    names = ("train", "validation") if "test" in data.splits else ("train",)
    rows = np.sort(np.concatenate([data.splits[name] for name in names]))
    labels = np.array([data.examples[row].label for row in rows])
    chosen = []
    for index, name in enumerate(data.classes):
        of_class = np.random.default_rng([seed, index]).permutation(rows[labels == name])
        chosen.append(of_class[: max(1, round(percent / 100 * len(of_class)))])
    return np.sort(np.concatenate(chosen))


def two_phases(
    config: LearningCurveConfig, spec: BackboneSpec, task: Task, splits: dict[str, "SplitData"], seed: int
) -> tuple[float, float]:
    """Train in two phases, as `scripts/train.py` does; features are never read from disk.

    The epoch that is kept is the one that fits its own images best, in general the last.

    Args:
        config: all options.
        spec: the backbone.
        task: what a label is.
        splits: by name.
        seed: of weights, order and augmentation.

    Returns:
        Accuracy, and seconds of the training.
    """
    import keras

    from tlkeras.run.train import build
    from tlkeras.training.two_phase import train_two_phases

    keras.utils.set_random_seed(seed)
    model = build(config, spec, task, splits["train"])
    epochs = config.finetune_epochs and count_epochs(splits, config, config.finetune_epochs, config.finetune_steps)
    options = dataclasses.replace(config, seed=seed, cache_gb=0.0, finetune_epochs=epochs)
    start = time.perf_counter()
    train_two_phases(model, splits["train"], splits["train"], options)
    seconds = time.perf_counter() - start
    return evaluate_accuracy(model, splits, config, task), seconds


def all_layers(
    config: LearningCurveConfig, spec: BackboneSpec, task: Task, splits: dict[str, "SplitData"], seed: int
) -> tuple[float, float]:
    """Train all layers and BatchNormalization from the first step on, by the recipe of `scripts/pretrain.py`.

    Args:
        config: all options; its weights are the initial ones.
        spec: the backbone.
        task: what a label is.
        splits: by name.
        seed: of weights, order and augmentation.

    Returns:
        Accuracy, and seconds of the training.
    """
    import keras

    from tlkeras.run.train import build
    from tlkeras.training.all_layers import train_all_layers

    keras.utils.set_random_seed(seed)
    model = build(config, spec, task, splits["train"])
    epochs = count_epochs(splits, config, config.all_layers_epochs, config.all_layers_steps)
    options = dataclasses.replace(all_layers_options(config), epochs=epochs, seed=seed)
    start = time.perf_counter()
    train_all_layers(model, splits["train"], None, options)
    seconds = time.perf_counter() - start
    return evaluate_accuracy(model, splits, config, task), seconds


def all_layers_options(config: LearningCurveConfig) -> AllLayersOptions:
    """Return how all layers are trained: augmentation and batches as in two phases, the rest as in pretraining."""
    augmentation = {entry.name: getattr(config, entry.name) for entry in dataclasses.fields(AugmentOptions)}
    return AllLayersOptions(
        **augmentation, epochs=config.all_layers_epochs, batch_size=config.batch_size, seed=config.seed
    )


def count_epochs(splits: dict[str, "SplitData"], config: LearningCurveConfig, epochs: int, steps: int) -> int:
    """Return so many epochs, or as many more as it takes to make a number of steps."""
    from tlkeras.data.pipeline import steps_per_epoch

    return max(epochs, math.ceil(steps / steps_per_epoch(len(splits["train"]), config.batch_size)))


def evaluate_accuracy(
    model: "keras.Model", splits: dict[str, "SplitData"], config: LearningCurveConfig, task: Task
) -> float:
    """Return the accuracy of a trained model on the test images."""
    from tlkeras.models.introspect import without_resizing
    from tlkeras.run.train import evaluate_splits

    metrics = evaluate_splits(without_resizing(model), {"test": splits["test"]}, config.batch_size, task)
    return metrics["test"]["accuracy"]
