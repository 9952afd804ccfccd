"""The options that a search tries. Those that leave the features as they are come first: a trial then takes seconds."""

import dataclasses
import json
from typing import Any

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.train import TrainConfig
from tlkeras.modalities.base import Modality

FIRST = 5  # trials at least that leave the features as they are
# Minimum area of a crop, and color jitter.
AUGMENTATION = {"none": (1.0, 0.0), "light": (0.85, 0.1), "medium": (0.7, 0.2), "strong": (0.4, 0.4)}
MIXING = {"none": (0.0, 0.0), "mixup": (0.2, 0.0), "cutmix": (0.0, 1.0)}  # alphas
SIZES = (0.75, 1.0, 1.25)  # of the given image size
GRID = 32  # pixels, of which image sizes are multiples
GIVEN = "as given"


def given_params(config: TrainConfig) -> dict[str, Any]:
    """Return the parameters of the first trial: those of the given options, with no rate missing."""
    names = ("dropout", "label_smoothing", "head_learning_rate", "finetune_learning_rate")
    return {name: getattr(config, name) for name in names} | {"hidden_units": json.dumps(config.hidden_units)}


def suggest(trial: Any, config: TrainConfig, spec: BackboneSpec, modality: Modality, wide: bool) -> TrainConfig:
    """Return the options that an Optuna trial is to try; those that change the features only if it is `wide`.

    `config` has the given options, with no rate and no stage missing; `modality` is how it decodes the examples.
    """
    hidden = list(dict.fromkeys([json.dumps(config.hidden_units), "[]", "[128]", "[512]"]))
    changes: dict[str, Any] = {
        "hidden_units": json.loads(trial.suggest_categorical("hidden_units", hidden)),
        "dropout": trial.suggest_float("dropout", 0.0, max(0.6, config.dropout)),
        "label_smoothing": trial.suggest_float("label_smoothing", 0.0, max(0.2, config.label_smoothing)),
    }
    for name in ("head_learning_rate", "finetune_learning_rate"):
        given = getattr(config, name)
        changes[name] = trial.suggest_float(name, given / 10, given * 10, log=True)
    if wide:
        changes |= suggest_features(trial, config, spec, modality)
    return dataclasses.replace(config, **changes)


def suggest_features(trial: Any, config: TrainConfig, spec: BackboneSpec, modality: Modality) -> dict[str, Any]:
    """Return the options to try that change the features, or what they are computed of."""
    stages = [stage.name for stage in spec.starts()][-3:]
    depths = list(dict.fromkeys([config.unfreeze, *stages, "all", "none"]))
    changes: dict[str, Any] = {"unfreeze": trial.suggest_categorical("unfreeze", depths)}
    if modality.augmentable:
        augmentation = trial.suggest_categorical("augmentation", [GIVEN, *AUGMENTATION])
        if augmentation != GIVEN:
            changes["min_crop_area"], changes["color_jitter"] = AUGMENTATION[augmentation]
        mixing = trial.suggest_categorical("mixing", [GIVEN, *MIXING])
        if mixing != GIVEN:
            changes["mixup"], changes["cutmix"] = MIXING[mixing]
    if given := modality.options().get("image_size"):
        sizes = {given, *(max(GRID, round(given * factor / GRID) * GRID) for factor in SIZES)}
        allowed = [size for size in sorted(sizes) if spec.min_size <= size <= (spec.max_size or size)]
        changes["image_size"] = trial.suggest_categorical("image_size", allowed)
    return changes
