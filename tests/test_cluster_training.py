"""Training on a cluster: gradients of the parts of a batch, which are added up, are those of the whole batch."""

import contextlib
import dataclasses
import pickle

import keras
import numpy as np
import pytest

from tlkeras.cluster import Workers
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.training import on_cluster, two_phase
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import train_two_phases

OPTIONS = {
    "batch_size": 10, "frozen_epochs": 2, "finetune_epochs": 2, "head_learning_rate": 0.1, "views": 2,
    "finetune_learning_rate": 0.02, "linear_probe": "never", "unfreeze": "stage2", "layer_decay": 0.8, "cache_gb": 0.0,
}  # fmt: skip


class OneAfterTheOther:
    """In place of `Tasks`: calls in this process, of which all goes through pickle."""

    def __init__(self, load, compute, workers) -> None:
        self._loaded, self._compute = load(), compute

    def together(self, shards, common) -> list:
        return [self._compute(self._loaded, *pickle.loads(pickle.dumps((shard, common)))) for shard in shards]


@pytest.fixture
def workers(monkeypatch):
    """Let three workers train, in this process, on features that are computed as without a cluster."""
    monkeypatch.setattr(on_cluster, "connected", lambda address: contextlib.nullcontext(Workers(3, 1)))
    monkeypatch.setattr(on_cluster, "Tasks", OneAfterTheOther)
    prepare = two_phase.prepare_phases
    monkeypatch.setattr(
        two_phase, "prepare_phases",
        lambda model, train, validation, options, own: prepare(
            model, train, validation, dataclasses.replace(options, cluster=None), own
        ),
    )  # fmt: skip
    return {"cluster": "local:3", "cluster_training": True}


def without_dropout(backbone: keras.Model) -> keras.Model:
    """Return a backbone without its last layer, whose masks would be others for each part of a batch."""
    return keras.Model(backbone.input, backbone.layers[-2].output, name="tiny")


def train(colored, checkpoints=None, callbacks=(), **options):
    keras.utils.set_random_seed(0)
    data, held_out = colored(31), colored(13, seed=1)
    model = build_classifier("Tiny", 3, weights="none", dropout=0.0, l2=0.01)
    calibrate_batch_norm(model, data.inputs)
    config = TrainConfig(**OPTIONS | options)
    result = train_two_phases(model, data, held_out, config, checkpoints, callbacks=callbacks)
    return model, np.array([[value for name, value in row.items() if name != "phase"] for row in result.history])


@pytest.mark.parametrize(
    "options",
    [
        {}, {"views": 0}, {"views": 0, "class_weights": "balanced"}, {"mixup": 0.4},
        {"optimizer": "sgd", "l2_sp": 0.1},
    ],
)  # fmt: skip
def test_unequal_parts_of_a_batch_train_as_the_whole(tiny, colored, workers, monkeypatch, options):
    build = keras.applications.Tiny
    monkeypatch.setattr(keras.applications, "Tiny", lambda *given, **named: without_dropout(build(*given, **named)))
    one, expected = train(colored, **options)
    other, history = train(colored, **workers, **options)
    np.testing.assert_allclose(history, expected, atol=1e-4)
    for weight, theirs in zip(one.weights, other.weights, strict=True):
        frozen = "bn" in weight.path or "conv1" in weight.path
        np.testing.assert_allclose(weight.numpy(), theirs.numpy(), atol=0 if frozen else 1e-4, rtol=0)


def test_a_stopped_training_is_resumed(tiny, colored, workers, tmp_path):
    def stop(epoch, logs):
        if epoch == 3:  # the second one of phase 2
            raise KeyboardInterrupt

    model, expected = train(colored, **workers)
    with pytest.raises(KeyboardInterrupt):
        train(colored, Checkpoints(tmp_path), [keras.callbacks.LambdaCallback(on_epoch_end=stop)], **workers)
    resumed, history = train(colored, Checkpoints(tmp_path), **workers)
    np.testing.assert_array_equal(history, expected)
    assert all(
        np.array_equal(one, other) for one, other in zip(model.get_weights(), resumed.get_weights(), strict=True)
    )


def test_a_head_with_statistics_of_its_own_is_refused(tiny, colored, workers):
    head = keras.Sequential([keras.layers.BatchNormalization(name="own"), keras.layers.Dense(3, activation="softmax")])
    model = build_classifier("Tiny", 3, weights="none", head=head)
    with pytest.raises(UserError, match="goes without own, a BatchNormalization of the head"):
        train_two_phases(model, colored(12), colored(6), TrainConfig(**OPTIONS | workers))


def test_what_a_worker_cannot_build_ends_the_run(tiny, colored, workers, monkeypatch):
    def fail(config):
        raise TypeError("Could not locate class 'Own'.")

    monkeypatch.setattr(keras.saving, "deserialize_keras_object", fail)
    with pytest.raises(UserError, match=r"A worker cannot build the model: Could not locate class 'Own'"):
        train(colored, **workers)
