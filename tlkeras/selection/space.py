"""The options that a search tries. Those that leave the features as they are come first: a trial then takes seconds."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError
from tlkeras.modalities.base import Modality

FIRST = 5  # trials at least that leave the features as they are
# Minimum area of a crop, and color jitter.
AUGMENTATION = {"none": (1.0, 0.0), "light": (0.85, 0.1), "medium": (0.7, 0.2), "strong": (0.4, 0.4)}
MIXING = {"none": (0.0, 0.0), "mixup": (0.2, 0.0), "cutmix": (0.0, 1.0)}  # alphas
SMOOTHING = (0.0, 0.05, 0.1, 0.2)  # of labels
SIZES = (0.75, 1.0, 1.25)  # of the given image size
GRID = 32  # pixels, of which image sizes are multiples
GIVEN = "as given"


def given_params(config: TrainConfig) -> dict[str, Any]:
    """Return the parameters of the first trial: those of the given options, with no rate missing."""
    names = ("dropout", "label_smoothing", "head_learning_rate", "finetune_learning_rate")
    return {name: getattr(config, name) for name in names} | {"hidden_units": json.dumps(config.hidden_units)}


def suggest(trial: Any, config: TrainConfig) -> TrainConfig:
    """Return options for an Optuna trial that leave the features as they are.

    `config` has the given options, with no rate and no stage missing.
    """
    hidden, smoothing = [json.dumps(config.hidden_units)], [config.label_smoothing]
    if config.linear_probe != "always":  # which has neither
        hidden = list(dict.fromkeys([*hidden, "[]", "[128]", "[512]"]))
        smoothing = list(dict.fromkeys([*smoothing, *SMOOTHING]))
    changes: dict[str, Any] = {
        "hidden_units": json.loads(trial.suggest_categorical("hidden_units", hidden)),
        "dropout": trial.suggest_float("dropout", 0.0, max(0.6, config.dropout)),
        "label_smoothing": trial.suggest_categorical("label_smoothing", smoothing),
    }
    for name in ("head_learning_rate", "finetune_learning_rate"):
        given = getattr(config, name)
        changes[name] = trial.suggest_float(name, given / 10, given * 10, log=True)
    return dataclasses.replace(config, **changes)


def suggest_features(
    trial: Any, config: TrainConfig, spec: BackboneSpec, modality: Modality, adaptable: bool
) -> TrainConfig:
    """Return options for a trial that change the features, too, or what they are computed of.

    `modality` is how the given options decode examples; `adaptable` says whether the backbone has BatchNormalization.
    What the given options forbid is not tried.
    """
    stages = [stage.name for stage in spec.starts()][-3:]
    depths = list(dict.fromkeys([config.unfreeze, *stages, "all", "none"]))
    depths = [depth for depth in depths if valid(dataclasses.replace(config, unfreeze=depth).check)]
    changes: dict[str, Any] = {"unfreeze": trial.suggest_categorical("unfreeze", depths)}
    if adaptable and config.batch_norm != "train":
        changes["batch_norm"] = trial.suggest_categorical("batch_norm", ["source", "adapt"])
    if modality.augmentable:
        augmentation = trial.suggest_categorical("augmentation", [GIVEN, *AUGMENTATION])
        if augmentation != GIVEN:
            changes["min_crop_area"], changes["color_jitter"] = AUGMENTATION[augmentation]
        mixing = trial.suggest_categorical("mixing", [GIVEN, *MIXING])
        if mixing != GIVEN:
            changes["mixup"], changes["cutmix"] = MIXING[mixing]
    if given := modality.options().get("image_size"):
        sizes = {max(GRID, round(given * factor / GRID) * GRID) for factor in SIZES} - {given}
        sizes = {size for size in sizes if valid(spec.check, config.weights, size)}
        sizes = {size for size in sizes if valid(spec.check_weights, config.weights, size)} | {given}
        changes["image_size"] = trial.suggest_categorical("image_size", sorted(sizes))
    return dataclasses.replace(config, **changes)


def valid(check: Callable[..., None], *given: Any) -> bool:
    """Return whether a check refuses nothing."""
    try:
        check(*given)
    except UserError:
        return False
    return True
