"""What a phase trains on: the whole network on images, or its upper part on features that were computed once."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import keras
import numpy as np

from tlkeras.config.train import TrainingOptions
from tlkeras.data.own_augment import OwnAugmentation
from tlkeras.data.pipeline import (
    SplitData,
    balanced_class_weights,
    evaluation_batches,
    even_batch_size,
    oversample,
    steps_per_epoch,
    training_batches,
)
from tlkeras.features.engines import Engine, choose_engine, make_engine
from tlkeras.features.extract import Features, check_finite, get_features, is_augmented
from tlkeras.features.split_model import split_model
from tlkeras.models.batch_norm import ADAPTED, adapt_batch_norm, set_statistics_momentum
from tlkeras.models.freezing import first_trainable_index
from tlkeras.models.introspect import backbone_title, get_backbone, get_task, without_resizing
from tlkeras.training.phase import PhaseInputs

log = logging.getLogger("tlkeras")


def prepare_phases(
    model: keras.Model, train: SplitData, validation: SplitData, options: TrainingOptions,
    own_augment: OwnAugmentation | None = None,
) -> dict[str, PhaseInputs]:  # fmt: skip
    """Return the inputs of "frozen" and "finetune"; say in a line why a phase goes without cached features."""
    drawn = epoch_rows(train, options)
    views = options.views if is_augmented(train, options, own_augment) else 1
    options = choose_engine(model, options, views * len(train) + len(validation))
    prepare_batch_norm(model, train, options, len(drawn))
    balanced = options.class_weights == "balanced"
    weights = balanced_class_weights(train.targets, get_task(model)) if balanced else None
    batch_size = options.batch_size
    if options.batch_norm == "train":
        batch_size = even_batch_size(len(drawn), batch_size)
    order: dict[str, Any] = {"batch_size": batch_size, "seed": options.seed, "class_weights": weights,
                             "drawn": drawn}  # fmt: skip
    whole = PhaseInputs(
        without_resizing(model),
        partial(training_batches, train, options, own_augment=own_augment, **order),
        evaluation_batches(validation, options.batch_size),
        len(drawn),
        batch_size,
        train.modality.throughput_unit,
        options.engine,
    )
    phases = {"frozen": whole, "finetune": whole}
    if train.modality.augmentable and (options.mixup or options.cutmix):
        log.info("Note: MixUp and CutMix mix pixels, so the whole network runs in every epoch.")
    elif options.views:
        for first in sorted({split_index(model, options), 0}, reverse=True):
            parts, name = split_model(model, first), f"{backbone_title(model)}, pooled"
            name += f" and below {get_backbone(model).layers[first].name}" if first else ""
            engine = cache(partial(make_engine, parts.below, options.engine))
            features = get_features(parts.below, name, train, validation, options, engine, own_augment)
            if features:
                tops = {"frozen": (parts.head, None, slice(1)), "finetune": (parts.upper, parts.above, slice(1, None))}
                for phase, (part, above, tensors) in tops.items():
                    if part:
                        given = [split.only(tensors) for split in features]
                        below = partial(run_engine, engine, tensors)
                        phases[phase] = replace(cached_inputs(whole, part, given, order), below=below, above=above)
                break
    if not phases["frozen"].features:  # else all features were checked
        check_finite([whole.part.predict_on_batch(train.first(1)[0])], train)
    return phases


def epoch_rows(train: SplitData, options: TrainingOptions) -> np.ndarray:
    """Return the training examples of an epoch as indices: each once, or those of rare classes more often."""
    return oversample(train.targets) if options.class_weights == "oversample" else np.arange(len(train))


def prepare_batch_norm(model: keras.Model, train: SplitData, options: TrainingOptions, count: int) -> None:
    """Blend the statistics of training images into the backbone's, or set the pace at which they will move.

    An epoch has `count` examples.
    """
    if options.batch_norm == "adapt":
        images = train.spread(ADAPTED)[0]
        adapt_batch_norm(model, images, options.adapt_fraction)
        log.info("BatchNormalization: statistics of %d training images blended in (%g).", len(images),
                 options.adapt_fraction)  # fmt: skip
    if options.batch_norm == "train":
        epochs = options.for_examples(count).finetune_epochs or 0
        set_statistics_momentum(model, steps_per_epoch(count, options.batch_size) * epochs)


def run_engine(make: Callable[[], Engine], tensors: slice, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return some of the outputs of an engine, which is made when it is first wanted."""
    return make()(inputs)[tensors]


def cached_inputs(
    whole: PhaseInputs, part: keras.Model, features: list[Features], order: dict[str, Any]
) -> PhaseInputs:
    """Return the inputs of a part of the model that runs on features of the training and the validation split."""
    train, validation = features
    training = partial(train.training_batches, **order)
    evaluation = validation.evaluation_batches(whole.batch_size)
    return replace(whole, part=part, training=training, validation=evaluation, features=train,
                   validation_features=validation)  # fmt: skip


def split_index(model: keras.Model, options: TrainingOptions) -> int:
    """Return the index of the first backbone layer that phase 2 trains; 0 where nothing is to be computed below it."""
    assert options.unfreeze is not None  # see `TrainingOptions.with_defaults`
    backbone, first = get_backbone(model), first_trainable_index(model, options.unfreeze)
    frozen = any(not isinstance(layer, keras.layers.InputLayer) for layer in backbone.layers[:first])
    return first if options.finetune_epochs and frozen and first < len(backbone.layers) else 0
