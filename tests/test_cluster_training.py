"""Training on a cluster: gradients of the parts of a batch, which are added up, are those of the whole batch."""

import contextlib
import dataclasses
import pickle

import keras
import numpy as np
import pytest
import ray
import tensorflow as tf

from tlkeras.backbones.spec import BackboneSpec
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
        self._loaded, self._compute = ray.cloudpickle.loads(ray.cloudpickle.dumps(load))(), compute

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


def train(colored, checkpoints=None, callbacks=(), loss=None, **options):
    keras.utils.set_random_seed(0)
    data, held_out = colored(31), colored(13, seed=1)
    built = {"dropout": 0.0, "precision": "float32"} | options
    model = build_classifier(
        "Tiny", 3, weights="none", l2=0.01, **{name: built[name] for name in ("dropout", "precision")}
    )
    calibrate_batch_norm(model, data.inputs)
    config = TrainConfig(**OPTIONS | options)
    result = train_two_phases(model, data, held_out, config, checkpoints, callbacks=callbacks, loss=loss)
    return model, np.array([[value for name, value in row.items() if name != "phase"] for row in result.history])


@pytest.mark.parametrize(
    "options",
    [
        {}, {"views": 0}, {"views": 0, "class_weights": "balanced"}, {"mixup": 0.4},
        {"optimizer": "sgd", "l2_sp": 0.1}, {"precision": "mixed_float16"},
    ],
)  # fmt: skip
def test_unequal_parts_of_a_batch_train_as_the_whole(tiny, colored, workers, monkeypatch, options):
    build = keras.applications.Tiny
    monkeypatch.setattr(keras.applications, "Tiny", lambda *given, **named: without_dropout(build(*given, **named)))
    one, expected = train(colored, **options)
    other, history = train(colored, **workers, **options)
    np.testing.assert_allclose(history, expected, atol=1e-4)
    close = 1e-3 if "precision" in options else 1e-4  # of numbers with eleven bits
    for weight, theirs in zip(one.weights, other.weights, strict=True):
        frozen = "bn" in weight.path or "conv1" in weight.path
        np.testing.assert_allclose(weight.numpy(), theirs.numpy(), atol=0 if frozen else close, rtol=0)


def test_a_stopped_training_is_resumed(tiny, colored, workers, tmp_path):
    def stop(epoch, logs):
        if epoch == 3:  # the second one of phase 2
            raise KeyboardInterrupt

    workers["dropout"] = 0.3
    model, expected = train(colored, **workers)
    with pytest.raises(KeyboardInterrupt):
        train(colored, Checkpoints(tmp_path), [keras.callbacks.LambdaCallback(on_epoch_end=stop)], **workers)
    resumed, history = train(colored, Checkpoints(tmp_path), **workers)
    np.testing.assert_array_equal(history, expected)
    assert all(
        np.array_equal(one, other) for one, other in zip(model.get_weights(), resumed.get_weights(), strict=True)
    )


def test_a_training_is_not_resumed_with_other_workers(tiny, colored, workers, monkeypatch, tmp_path):
    def stop(epoch, logs):
        if epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(colored, Checkpoints(tmp_path), [keras.callbacks.LambdaCallback(on_epoch_end=stop)], **workers)
    monkeypatch.setattr(on_cluster, "connected", lambda address: contextlib.nullcontext(Workers(2, 1)))
    with pytest.raises(UserError, match="was started with 3 workers, and --cluster has 2"):
        train(colored, Checkpoints(tmp_path), **workers)


def test_each_step_has_another_mask(tiny, colored, workers):
    keras.utils.set_random_seed(0)
    model = build_classifier("Tiny", 3, weights="none", dropout=0.3)
    state = model.get_layer("dropout").seed_generator.state
    before = state.numpy()
    train_two_phases(model, colored(31), colored(13), TrainConfig(**OPTIONS | workers | {"frozen_epochs": 1}))
    after_phase_1 = build_classifier("Tiny", 3, weights="none", dropout=0.3)
    keras.utils.set_random_seed(0)
    train_two_phases(after_phase_1, colored(31), colored(13),
                     TrainConfig(**OPTIONS | workers | {"frozen_epochs": 1, "finetune_epochs": 0}))  # fmt: skip
    steps = state.numpy()[1] - before[1], after_phase_1.get_layer("dropout").seed_generator.state.numpy()[1]
    assert steps[0] > steps[1] > 0


class OwnLoss:
    """A loss that Keras cannot write into a config."""

    def __call__(self, true, predicted):
        return keras.ops.mean((true - predicted) ** 2, axis=-1)


def test_a_loss_of_ones_own_trains_as_in_one_process(tiny, colored, workers, monkeypatch):
    build = keras.applications.Tiny
    monkeypatch.setattr(keras.applications, "Tiny", lambda *given, **named: without_dropout(build(*given, **named)))
    np.testing.assert_allclose(
        train(colored, loss=OwnLoss(), **workers)[1], train(colored, loss=OwnLoss())[1], atol=1e-4
    )


def test_a_loss_that_is_no_mean_is_refused(tiny, colored, workers):
    with pytest.raises(UserError, match="needs a loss that is the mean over the examples of a batch"):
        train(colored, loss=keras.losses.CategoricalCrossentropy(reduction="sum"), **workers)
    with pytest.raises(UserError, match="needs a loss that is the mean over the examples of a batch"):
        on_cluster.check_mean(keras.losses.MeanSquaredError(reduction="sum"), 1)


def test_what_cannot_be_shared_is_refused_or_said(tiny, colored, workers, caplog, monkeypatch):
    with monkeypatch.context() as patch, pytest.raises(UserError, match="goes without "):
        patch.setattr(BackboneSpec, "can_build_elsewhere", False)
        train(colored, **workers)
    for change, message in (
        ({"cluster": None}, "without --cluster"),
        ({"batch_norm": "train", "unfreeze": "all"}, "statis"),
    ):
        with pytest.raises(UserError, match=message):
            train(colored, **workers | change)
    with caplog.at_level("INFO", "tlkeras"):
        train(colored, **workers, finetune_epochs=0)
    assert any("--cluster-training has no effect: features are cached" in line for line in caplog.messages)


def test_grouped_convolutions_are_inlined_in_a_worker(tmp_path):
    inputs = keras.Input((8, 8, 4))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, groups=4)(inputs))
    part = keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(x))
    part.compile(loss="categorical_crossentropy", jit_compile=False)
    batch = tuple(tf.TensorSpec([None, *shape], tf.float32) for shape in ((8, 8, 4), (2,), ()))
    graph = on_cluster.Replica(part, batch).gradients.get_concrete_function(*[batch], tf.TensorSpec([])).graph
    assert not any("Call" in operation.type for operation in graph.get_operations())


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
