"""What a phase runs: the whole network on pictures, or its upper part on features that were computed once."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import numpy as np
import tensorflow as tf

from tlkeras.config import TrainingOptions
from tlkeras.data.images import memory_budget
from tlkeras.data.pipeline import ImageSet, evaluation_batches, training_batches
from tlkeras.features.cache import Features, compute, evaluation_features, training_features
from tlkeras.features.cut import crossing_tensors, cut, head_of, pooled_features
from tlkeras.models.freezing import backbone_of, first_unfrozen

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class Road:
    """The layers that run in a phase, and what they are fed.

    Attributes:
        part: the layers; they are the model's own, so what they learn the model knows.
        training: batches of a range of epochs; takes `first_epoch`, `last_epoch` and `class_weights`.
        validation: every validation picture once.
    """

    part: keras.Model
    training: Callable[..., tf.data.Dataset]
    validation: tf.data.Dataset


def training_view(model: keras.Model) -> keras.Model:
    """A model without the resizing in front: training pictures already have the right size."""
    return keras.Model(model.get_layer("resize").output, model.output, name=model.name)


def make_roads(model: keras.Model, train: ImageSet, validation: ImageSet, options: TrainingOptions) -> dict[str, Road]:
    """A road for each phase, "frozen" and "finetune"; says in a line why a phase goes without cached features."""
    whole = Road(
        training_view(model),
        partial(training_batches, train, options, batch_size=options.batch_size, seed=options.seed),
        evaluation_batches(validation, options.batch_size),
    )
    if options.views == 0 or options.mixup or options.cutmix:
        if options.views:
            log.info("Note: MixUp and CutMix mix pixels, so the whole network runs in every epoch.")
        return {"frozen": whole, "finetune": whole}
    views = options.views if options.changes_pictures() else 1
    first = deepest_cut(model, options, views * len(train) + len(validation))
    start = time.perf_counter()
    lower = cut(model, first).lower if first else pooled_features(model)
    at_cut = [compute(lower, train, options, views, options.seed), compute(lower, validation, None, 1, options.seed)]
    log.info(
        "Features: all pictures went once through the frozen part, %d views for training; %.1f s, %.0f MB.",
        views, time.perf_counter() - start, sum(features.nbytes for features in at_cut) / 1e6,
    )  # fmt: skip
    if not first:
        return {"frozen": feature_road(head_of(model), *at_cut, options), "finetune": whole}
    parts = cut(model, first)
    pooled = [features.through(parts.middle) for features in at_cut]
    return {
        "frozen": feature_road(parts.head, *pooled, options),
        "finetune": feature_road(parts.upper, *at_cut, options),
    }


def feature_road(part: keras.Model, train: Features, validation: Features, options: TrainingOptions) -> Road:
    """The road of a part of the model on features."""
    training = partial(training_features, train, batch_size=options.batch_size, seed=options.seed)
    return Road(part, training, evaluation_features(validation, options.batch_size))


def deepest_cut(model: keras.Model, options: TrainingOptions, count: int) -> int:
    """Index of the first backbone layer that phase 2 unfreezes, if the features in front of it fit into memory.

    Returns:
        0 where there is no such cut: phase 2 is left out or unfreezes everything, or the features are too large.
    """
    backbone = backbone_of(model)
    first = first_unfrozen(backbone, options.unfreeze)
    if not options.finetune_epochs or first in (0, len(backbone.layers)):
        return 0
    needed = (
        4
        * count
        * sum(int(np.prod(tensor.shape[1:])) for tensor in keras.tree.flatten(crossing_tensors(backbone, first)))
    )
    if needed > memory_budget():
        log.info(
            "Note: the features that phase 2 starts from would take %.1f GB, more than a quarter of the memory, so the "
            "whole network runs in each of its epochs.", needed / 1e9,
        )  # fmt: skip
        return 0
    return first
