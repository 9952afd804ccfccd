"""Every option of every program, as typed dataclasses.

Nothing here imports TensorFlow: a wrong value is refused in the first second.
"""

from tlkeras.config.fields import KINDS, FormName, Task, check_form, check_values, limits, must, option
from tlkeras.config.gain import GainConfig
from tlkeras.config.pretrain import PretrainConfig, ScratchOptions
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
