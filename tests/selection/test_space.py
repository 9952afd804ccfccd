"""What a search tries is what a training run accepts; cheap trials leave the features as they are."""

import dataclasses

import optuna
import pytest

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.train import TrainConfig
from tlkeras.modalities.image import ImageModality
from tlkeras.selection.space import given_params, suggest

CHEAP = {"hidden_units", "dropout", "label_smoothing", "head_learning_rate", "finetune_learning_rate"}
optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def config():
    spec = get_backbone_spec("MobileNetV2")
    return TrainConfig(data="digits", image_size=96, hidden_units=[64]).with_defaults(spec.finetune_from), spec


def changed(one: TrainConfig, other: TrainConfig) -> set[str]:
    return {name for name, value in dataclasses.asdict(one).items() if value != getattr(other, name)}


def test_every_trial_is_a_valid_run(config):
    given, spec = config
    study, seen = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), set()
    for number in range(60):
        options = suggest(study.ask(), given, spec, ImageModality(96), wide=number >= 20)
        options.check()
        assert changed(options, given) <= CHEAP or number >= 20
        seen |= changed(options, given)
    others = {"unfreeze", "min_crop_area", "color_jitter", "mixup", "cutmix", "image_size"}
    assert seen == CHEAP | others


def test_the_first_trial_is_what_was_given(config):
    given, spec = config
    study = optuna.create_study()
    study.enqueue_trial(given_params(given))
    assert suggest(study.ask(), given, spec, ImageModality(96), wide=False) == given
