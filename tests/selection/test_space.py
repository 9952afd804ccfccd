"""What a search tries is what a training run accepts; cheap trials leave the features as they are."""

import dataclasses

import optuna
import pytest

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError
from tlkeras.modalities.image import ImageModality
from tlkeras.selection.space import given_params, suggest, suggest_features

CHEAP = {"hidden_units", "dropout", "label_smoothing", "head_learning_rate", "finetune_learning_rate"}
optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.fixture
def config(monkeypatch):
    """Options and a backbone whose weights are available up to 96 pixels."""

    def check_weights(self, weights, image_size):
        if image_size > 96:
            raise UserError("There is no such file.")

    monkeypatch.setattr(BackboneSpec, "check_weights", check_weights)
    spec = get_backbone_spec("MobileNetV2")
    return TrainConfig(data="digits", image_size=96, hidden_units=[64]).with_defaults(spec.finetune_from), spec


def changed(one: TrainConfig, other: TrainConfig) -> set[str]:
    return {name for name, value in dataclasses.asdict(one).items() if value != getattr(other, name)}


def test_every_trial_is_a_valid_run(config):
    given, spec = config
    study, seen = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)), set()
    for number in range(60):
        trial = study.ask()
        options = suggest(trial, given)
        if number >= 20:
            options = suggest_features(trial, options, spec, ImageModality(96), adaptable=True)
        options.check()
        assert changed(options, given) <= CHEAP or number >= 20
        seen |= changed(options, given)
    others = {"unfreeze", "min_crop_area", "color_jitter", "mixup", "cutmix", "image_size", "batch_norm"}
    assert seen == CHEAP | others


def test_the_first_trial_is_what_was_given(config):
    given, _ = config
    study = optuna.create_study()
    study.enqueue_trial(given_params(given))
    assert suggest(study.ask(), given) == given


@pytest.mark.parametrize(
    ("name", "value"), [("linear_probe", "always"), ("lora_rank", 4), ("batch_norm", "train"), ("weights", "none")]
)
def test_what_an_option_forbids_is_not_tried(config, name, value):
    given, spec = config
    given = dataclasses.replace(given, hidden_units=[], label_smoothing=0.0, unfreeze="all", **{name: value})
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        trial = study.ask()
        options = suggest_features(trial, suggest(trial, given), spec, ImageModality(96), adaptable=False)
        options.check()
        assert name != "linear_probe" or not (options.hidden_units or options.label_smoothing)
        assert options.batch_norm == given.batch_norm


def test_image_sizes_without_weights_are_not_tried(config):
    given, spec = config
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    tried = {suggest_features(study.ask(), given, spec, ImageModality(96), False).image_size for _ in range(30)}
    assert tried == {64, 96}
