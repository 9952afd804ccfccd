"""What a phase trains on: the whole network on images, or its upper part on features that were computed once."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
import tensorflow as tf

from tlkeras.config.train import TrainingOptions
from tlkeras.data.pipeline import SplitData, evaluation_batches, training_batches
from tlkeras.features.extract import Features, check_finite, get_features
from tlkeras.features.split_model import split_model
from tlkeras.models.freezing import first_trainable_index
from tlkeras.models.introspect import backbone_title, get_backbone, without_resizing

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class PhaseInputs:
    """The layers that run in a phase, and their inputs.

    Attributes:
        part: the layers; they are the model's own, so training them trains the model.
        training: batches of a range of epochs; takes `first_epoch`, `last_epoch` and `class_weights`.
        validation: every validation example once.
        cached: whether these are features that were computed once.
    """

    part: keras.Model
    training: Callable[..., tf.data.Dataset]
    validation: tf.data.Dataset
    cached: bool


def prepare_phases(
    model: keras.Model, train: SplitData, validation: SplitData, options: TrainingOptions
) -> dict[str, PhaseInputs]:
    """Return the inputs of each phase, "frozen" and "finetune"; say in a line why a phase goes without cached features.

    Args:
        model: a model from `build_classifier`.
        train: the training split.
        validation: the validation split.
        options: augmentation, views, budgets and batch size.

    Raises:
        UserError: features are not finite.
    """
    whole = PhaseInputs(
        without_resizing(model),
        partial(training_batches, train, options, batch_size=options.batch_size, seed=options.seed),
        evaluation_batches(validation, options.batch_size),
        cached=False,
    )
    phases = {"frozen": whole, "finetune": whole}
    if train.modality.augmentable and (options.mixup or options.cutmix):
        log.info("Note: MixUp and CutMix mix pixels, so the whole network runs in every epoch.")
    elif options.views:
        for first in sorted({split_index(model, options), 0}, reverse=True):
            parts = split_model(model, first)
            features = get_features(parts.below, describe_split(model, first), train, validation, options)
            if features:
                phases["frozen"] = cached_inputs(parts.head, features, slice(1), options)
                if parts.upper:
                    phases["finetune"] = cached_inputs(parts.upper, features, slice(1, None), options)
                break
    if not phases["frozen"].cached:  # else all features were checked
        check_finite([whole.part.predict_on_batch(train.first(1)[0])], train)
    return phases


def cached_inputs(
    part: keras.Model, features: tuple[Features, Features], tensors: slice, options: TrainingOptions
) -> PhaseInputs:
    """Return the inputs of a part of the model that runs on some tensors of the features."""
    train, validation = (of_split.only(tensors) for of_split in features)
    training = partial(train.training_batches, batch_size=options.batch_size, seed=options.seed)
    return PhaseInputs(part, training, validation.evaluation_batches(options.batch_size), cached=True)


def split_index(model: keras.Model, options: TrainingOptions) -> int:
    """Return the index of the first backbone layer that phase 2 trains; 0 where nothing is to be computed below it."""
    assert options.unfreeze is not None  # see `TrainingOptions.with_defaults`
    backbone, first = get_backbone(model), first_trainable_index(model, options.unfreeze)
    frozen = any(not isinstance(layer, keras.layers.InputLayer) for layer in backbone.layers[:first])
    return first if options.finetune_epochs and frozen and first < len(backbone.layers) else 0


def describe_split(model: keras.Model, first: int) -> str:
    """Return what is computed once, in words."""
    name = f"{backbone_title(model)}, pooled"
    return f"{name} and below {get_backbone(model).layers[first].name}" if first else name
