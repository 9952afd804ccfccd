"""What a phase runs: the whole network on pictures, or its upper part on features that were computed once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import tensorflow as tf

from tlkeras.config import TrainingOptions
from tlkeras.data.pipeline import SplitData, evaluation_batches, training_batches
from tlkeras.features.batches import evaluation_features, training_features
from tlkeras.features.get_features import get_features
from tlkeras.features.extract import Features, check_finite
from tlkeras.features.split_model import split_model
from tlkeras.models.freezing import get_backbone, first_trainable_index
from tlkeras.models.introspect import backbone_at, decoded_input

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class PhaseInputs:
    """The layers that run in a phase, and what they are fed.

    Attributes:
        part: the layers; they are the model's own, so what they learn the model knows.
        training: batches of a range of epochs; takes `first_epoch`, `last_epoch` and `class_weights`.
        validation: every validation picture once.
        cached: whether these are features that were computed once.
    """

    part: keras.Model
    training: Callable[..., tf.data.Dataset]
    validation: tf.data.Dataset
    cached: bool


def without_resizing(model: keras.Model) -> keras.Model:
    """A model without the resizing in front: training pictures already have the right size."""
    return keras.Model(decoded_input(model), model.output, name=model.name)


def prepare_phases(
    model: keras.Model, train: SplitData, validation: SplitData, options: TrainingOptions
) -> dict[str, PhaseInputs]:
    """A road for each phase, "frozen" and "finetune"; says in a line why a phase goes without cached features.

    Args:
        model: a model from `build_classifier`.
        train: the training split.
        validation: the validation split.
        options: augmentation, views, budgets and batch size.

    Raises:
        UserError: sounds are too short for the module.
    """
    whole = PhaseInputs(
        without_resizing(model),
        partial(training_batches, train, options, batch_size=options.batch_size, seed=options.seed),
        evaluation_batches(validation, options.batch_size),
        cached=False,
    )
    phases = {"frozen": whole, "finetune": whole}
    if train.form == "pictures" and (options.mixup or options.cutmix):
        log.info("Note: MixUp and CutMix mix pixels, so the whole network runs in every epoch.")
    elif options.views:
        for first in sorted({cut_index(model, options), 0}, reverse=True):
            parts = split_model(model, first)
            if features := get_features(parts.below, describe_cut(model, first), train, validation, options):
                phases["frozen"] = cached_inputs(parts.head, *(of_split.only(slice(1)) for of_split in features), options)
                if parts.upper:
                    at_cut = (of_split.only(slice(1, None)) for of_split in features)
                    phases["finetune"] = cached_inputs(parts.upper, *at_cut, options)
                break
    if not phases["frozen"].cached and train.form == "sounds":  # else every sound was looked at
        check_finite([whole.part.predict_on_batch(train.first(1)[0])], train)
    return phases


def cached_inputs(part: keras.Model, train: Features, validation: Features, options: TrainingOptions) -> PhaseInputs:
    """The road of a part of the model on features.

    Args:
        part: the layers above the cut.
        train: features of the training split.
        validation: features of the validation split.
        options: batch size and seed.
    """
    training = partial(training_features, train, batch_size=options.batch_size, seed=options.seed)
    return PhaseInputs(part, training, evaluation_features(validation, options.batch_size), cached=True)


def cut_index(model: keras.Model, options: TrainingOptions) -> int:
    """Index of the first backbone layer that phase 2 unfreezes; 0 if there is no phase 2, or it unfreezes all."""
    backbone = get_backbone(model)
    first = first_trainable_index(backbone, options.unfreeze)
    return first if options.finetune_epochs and first < len(backbone.layers) else 0


def describe_cut(model: keras.Model, first: int) -> str:
    """What is computed once, in words."""
    backbone = get_backbone(model)
    name = backbone_at(model)
    return f"{name}, pooled and below {backbone.layers[first].name}" if first else f"{name}, pooled"
