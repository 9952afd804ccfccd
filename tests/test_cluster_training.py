"""The arithmetic of --cluster-training, without a cluster: parts of a batch go through pickle, one after the other."""
import contextlib, pickle
import keras, numpy as np, pytest
from tlkeras.cluster import Workers
from tlkeras.config.train import TrainConfig
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone
from tlkeras.training import on_cluster
from tlkeras.training.two_phase import train_two_phases

OPTIONS = {"batch_size": 10, "frozen_epochs": 2, "finetune_epochs": 2, "head_learning_rate": 0.1, "views": 2,
           "finetune_learning_rate": 0.02, "linear_probe": "never", "unfreeze": "stage2", "layer_decay": 0.8, "cache_gb": 0.0}  # fmt: skip


class OneAfterTheOther:
    """In place of `Tasks`: what is sent goes through pickle."""

    def __init__(self, load, compute, workers) -> None:
        self._loaded, self._compute = load(), compute

    def together(self, shards, common) -> list:
        return [self._compute(self._loaded, *pickle.loads(pickle.dumps((shard, common)))) for shard in shards]


def train(colored, **options):
    keras.utils.set_random_seed(0)
    data, held_out = colored(31), colored(13, seed=1)
    model = build_classifier("Tiny", 3, weights="none", dropout=0.0, l2=0.01)
    calibrate_batch_norm(model, data.inputs)
    get_backbone(model).get_layer("inner_dropout").rate = 0.0
    result = train_two_phases(model, data, held_out, TrainConfig(**OPTIONS | options))
    return model, np.array([[v for n, v in row.items() if n != "phase"] for row in result.history])


@pytest.mark.parametrize("options", [{}, {"views": 0}, {"views": 0, "class_weights": "balanced"}, {"mixup": 0.4}, {"optimizer": "sgd", "l2_sp": 0.1}])
def test_unequal_parts_of_a_batch_train_as_the_whole(tiny, colored, monkeypatch, options):
    monkeypatch.setattr(on_cluster, "connected", lambda address: contextlib.nullcontext(Workers(3, 1)))
    monkeypatch.setattr(on_cluster, "Tasks", OneAfterTheOther)
    monkeypatch.setattr("tlkeras.features.shards.ShardedJob.of", lambda job, address, model: job)
    monkeypatch.setattr("tlkeras.features.engines.make_engine", __import__("tlkeras.features.engines", fromlist=["x"]).make_engine)
    one, expected = train(colored, **options)
    real = on_cluster.on_cluster
    from types import SimpleNamespace
    from tlkeras.training import two_phase
    class Options(TrainConfig):
        pass
    # only the training is shared here, not the features
    prepare = two_phase.prepare_phases
    def prepared(model, train, validation, options, own=None):
        import dataclasses
        return prepare(model, train, validation, dataclasses.replace(options, cluster=None), own)
    monkeypatch.setattr(two_phase, "prepare_phases", prepared)
    other, history = train(colored, cluster="local:3", cluster_training=True, **options)
    np.testing.assert_allclose(history, expected, atol=1e-4)
    for a, b, w in zip(one.get_weights(), other.get_weights(), one.weights):
        np.testing.assert_allclose(a, b, atol=1e-4)
        if "bn" in w.path or "conv1" in w.path:
            assert np.array_equal(a, b)
