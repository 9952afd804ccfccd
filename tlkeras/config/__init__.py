"""Every option of every program, as typed dataclasses.

Nothing here imports TensorFlow: a wrong value is refused in the first second.
"""

from tlkeras.config.fields import TYPE_NAMES, ModalityName, Task, check_modality, check_values, range_text, expected_text, option
from tlkeras.config.learning_curve import LearningCurveConfig
from tlkeras.config.pretrain import PretrainConfig, AllLayersOptions
from tlkeras.config.train import (
    DIGITS_DEFAULTS,
    OTHER_BACKBONE,
    SECONDS,
    AugmentOptions,
    CacheOptions,
    DataOptions,
    ModelOptions,
    TrainConfig,
    TrainingOptions,
)

__all__ = [
    "DIGITS_DEFAULTS",
    "KINDS",
    "OTHER_BACKBONE",
    "SECONDS",
    "AugmentOptions",
    "CacheOptions",
    "DataOptions",
    "FormName",
    "GainConfig",
    "ModelOptions",
    "PretrainConfig",
    "ScratchOptions",
    "Task",
    "TrainConfig",
    "TrainingOptions",
    "check_form",
    "check_values",
    "limits",
    "must",
    "option",
]
