"""Train both phases on some examples and predict others: one trial of a choice or of a search."""

import dataclasses
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.train import TrainConfig
from tlkeras.data.loading import decode_all, sample
from tlkeras.data.prepare import PreparedData
from tlkeras.modalities.base import Modality


class OutOfTime(Exception):
    """The budget is used up; what was started does not count."""


def modality_of(config: TrainConfig, spec: BackboneSpec, data: PreparedData) -> Modality:
    """Return how a candidate decodes the examples, such as in its own image size."""
    return type(data.modality).resolve(spec, dataclasses.asdict(config), partial(sample, data.examples))


def decode_for(config: TrainConfig, spec: BackboneSpec, data: PreparedData) -> PreparedData:
    """Return the data as a candidate decodes them; no split is for the test."""
    modality = modality_of(config, spec, data)
    splits = {name: data.splits[name] for name in ("train", "validation")}
    if modality.options() == data.modality.options():
        return dataclasses.replace(data, splits=splits)
    inputs = decode_all(data.examples, modality, 1.0, config.memory_gb, config.disk_gb).inputs
    return dataclasses.replace(data, modality=modality, inputs=inputs, splits=splits)


def train_and_predict(
    config: TrainConfig, spec: BackboneSpec, data: PreparedData, callbacks: Sequence[Any] = (), metrics: Sequence = ()
) -> np.ndarray:
    """Return the outputs `(N, K)` for the validation examples after both phases, which they chose the epoch of."""
    import keras

    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.outputs import head_outputs, pooled_features
    from tlkeras.run.train import build
    from tlkeras.training.two_phase import train_two_phases

    keras.backend.clear_session()
    keras.utils.set_random_seed(config.seed)
    config = dataclasses.replace(config, **data.modality.options())
    options = config.with_defaults(spec.default_unfreeze(config.image_size), config.weights != "none")
    splits = split_data(data)
    model = build(options, spec, splits["train"])
    result = train_two_phases(
        model, splits["train"], splits["validation"], options, callbacks=callbacks, metrics=metrics
    )
    features = pooled_features(model, {"validation": splits["validation"]}, options, result.inputs)
    return head_outputs(model, features)["validation"]


def stop_at(deadline: float) -> Any:
    """Return a Keras callback that raises `OutOfTime` in the first step after a moment of `time.monotonic`."""
    import keras

    def check(*_: Any, **__: Any) -> None:
        if time.monotonic() > deadline:
            raise OutOfTime

    return keras.callbacks.LambdaCallback(on_train_batch_end=check, on_epoch_end=check)
