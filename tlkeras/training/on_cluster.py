"""Training on the workers of a cluster: each computes the gradients of its part of every batch.

The process that was started does all else: it makes the batches, adds up the gradients, moves the weights and
evaluates. The weights go to the workers with every step, so nothing of a training is on a worker alone: where one is
lost, its part of a step is computed again.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial, reduce
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkeras.cluster import Tasks, connected
from tlkeras.config.cluster import check_cluster, check_cluster_training
from tlkeras.config.extensions import Extensions
from tlkeras.errors import UserError, first_sentence
from tlkeras.io.hashing import array_digest
from tlkeras.models.inlining import inlined
from tlkeras.models.introspect import get_backbone, get_spec
from tlkeras.models.keras_private import flatten_layers
from tlkeras.runtime import load_tensorflow
from tlkeras.training.checkpoint import assign_all, layer_states, to_numpy
from tlkeras.training.phase import Phase, PhaseInputs, fit, loss_and_metrics

log = logging.getLogger("tlkeras")


@dataclass(frozen=True)
class ClusterTraining:
    """The cluster on which gradients are computed, in how many parts of a batch, and of which loss."""

    address: str
    count: int
    loss: dict[str, Any]  # arguments of `compile`
    seed: int

    @classmethod
    def of(cls, model: keras.Model, options: Any, given: Extensions) -> "ClusterTraining":
        """Return how a model is trained on the cluster of some options.

        Raises:
            UserError: an option, the backbone, a BatchNormalization or the loss is not for parts of a batch.
        """
        check_cluster(options.cluster)
        check_cluster_training(options)
        if not get_spec(model).can_build_elsewhere:
            raise UserError(f"--cluster-training goes without {get_spec(model).name}: give a backbone of the table.")
        backbone = {id(layer) for layer in flatten_layers(get_backbone(model))}
        for layer in flatten_layers(model):
            if isinstance(layer, keras.layers.BatchNormalization) and id(layer) not in backbone:
                raise UserError(
                    f"--cluster-training goes without {layer.name}, a BatchNormalization of the head: it takes "
                    "statistics of the whole batch, and each machine sees its part of it only."
                )
        if given.loss is not None:
            check_mean(given.loss, model.output_shape[-1])
        loss = loss_and_metrics(model, options.label_smoothing, given)
        del loss["metrics"]
        with connected(options.cluster) as workers:
            return cls(options.cluster, min(workers.count, options.batch_size), loss, options.seed)

    def share(self, inputs: dict[str, PhaseInputs], phases: list[str]) -> dict[str, PhaseInputs]:
        """Return the inputs of the phases, so that workers train them; a head on cached features is trained here."""
        shared = [name for name in phases if name != "frozen" or not inputs[name].features]
        if not shared:
            log.warning("Note: --cluster-training has no effect: features are cached, and there is no phase 2.")
        return inputs | {name: replace(inputs[name], cluster=self) for name in shared}

    def fit(
        self, phase: Phase, inputs: PhaseInputs, first_epoch: int, callbacks: list[keras.callbacks.Callback]
    ) -> None:
        """Do what `tlkeras.training.phase.fit` does; its gradients come from the workers."""
        with connected(self.address) as workers:
            log.info("Workers: %d, each with at most %d of the %d examples of a batch.", self.count,
                     -(-inputs.batch_size // self.count), inputs.batch_size)  # fmt: skip
            tasks = Tasks(self.loader(inputs), compute_part, workers)
            inputs.part.train_function = SharedStep(inputs, self.count, tasks)
            fit(phase, replace(inputs, cluster=None), first_epoch, callbacks)

    def loader(self, inputs: PhaseInputs) -> partial:
        """Return what makes a `Replica` in a worker."""
        copy = keras.Model(inputs.part.input, inputs.part.output)
        for layer in flatten_layers(copy):
            if isinstance(layer, keras.Model):
                layer.compiled = False  # for a phase that is done, with a loss that need not have a config
        trainable = [layer.trainable for layer in flatten_layers(copy)]
        batch = inputs.training(first_epoch=0, last_epoch=1).element_spec
        digest = array_digest(copy.trainable_variables)
        config, weights = keras.saving.serialize_keras_object(copy), copy.get_weights()
        return partial(Replica.load, config, weights, trainable, digest, self.loss, batch, self.seed)


def check_mean(loss: Any, width: int) -> None:
    """Refuse a loss of K outputs that is no mean over examples: its gradients cannot be added up from parts."""
    rng = np.random.default_rng(0)
    true, predicted = (rng.uniform(0.1, 0.9, (4, width)).astype("float32") for _ in range(2))
    whole, first, second = (
        float(keras.ops.mean(loss(true[rows], predicted[rows]))) for rows in (slice(4), slice(2), slice(2, 4))
    )
    if not np.isclose(whole, (first + second) / 2, rtol=1e-3):
        raise UserError(
            "--cluster-training needs a loss that is the mean over the examples of a batch, and loss= is none: it is "
            f"{whole:.4g} for four examples, {first:.4g} and {second:.4g} for two each."
        )


def used_states(part: keras.Model) -> list[keras.Variable]:
    """Return the states of layers, without the seeds of dropout that is off, which a copy does not have."""
    off = [layer.seed_generator for layer in flatten_layers(part)
           if getattr(layer, "rate", None) == 0 and getattr(layer, "seed_generator", None)]  # fmt: skip
    unused = {id(generator.state) for generator in off}
    return [state for state in layer_states(part) if id(state) not in unused]


class Replica:
    """A worker's copy of the part of a model that is trained."""

    def __init__(self, part: keras.Model, batch: Any) -> None:
        self.part, self.states = part, used_states(part)
        # All sizes of a batch have one graph, so that a part has the same bits whichever worker computes it.
        signature = [batch, tf.TensorSpec([], tf.float32)]
        self.gradients = tf.function(self._gradients, input_signature=signature, jit_compile=False)

    @classmethod
    def load(
        cls, config: Any, weights: list[np.ndarray], trainable: list[bool], digest: str, loss: dict[str, Any],
        batch: Any, seed: int,
    ) -> "Replica":  # fmt: skip
        """Return a copy of what was sent; refuse one that is not the same."""
        load_tensorflow(seed)
        try:
            part = keras.saving.deserialize_keras_object(config)
            part.set_weights(weights)
        except (ImportError, TypeError, ValueError) as error:
            raise UserError(
                f"A worker cannot build the model: {first_sentence(error)}. Leave --cluster-training out."
            ) from error
        for layer, flag in zip(flatten_layers(part), trainable, strict=True):
            layer.trainable = flag
        if array_digest(part.trainable_variables) != digest:
            raise UserError("A worker has built another model. All machines need the same version of Keras.")
        part.compile(**loss, jit_compile=False)
        return cls(part, batch)

    def _gradients(self, batch: Any, scale: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(batch)
        with inlined(), tf.GradientTape() as tape:
            outputs = self.part(x, training=True)
            loss = self.part.compute_loss(x, y, outputs, weights, training=True)
            scaled = loss * scale
        gradients = tape.gradient(scaled, self.part.trainable_weights)
        return loss, outputs, [tf.convert_to_tensor(gradient) for gradient in gradients]  # of embeddings: some rows


def compute_part(replica: Replica, shard: tuple[Any, float], variables: list[np.ndarray]) -> tuple:
    """Return loss, outputs, gradients and the states after it of a part of a batch; its loss is scaled for these."""
    batch, scale = shard
    assign_all([*replica.part.trainable_variables, *replica.states], variables)
    loss, outputs, gradients = replica.gradients(batch, scale)
    return float(loss), outputs.numpy(), [one.numpy() for one in gradients], to_numpy(replica.states)


def rows_of(batch: Any, rows: np.ndarray) -> Any:
    """Return some examples of a batch, as arrays."""
    return keras.tree.map_structure(lambda tensor: tensor.numpy()[rows], batch)


class SharedStep:
    """A step in place of Keras' own, for `fit`: the gradients of the parts of a batch come from elsewhere.

    Args:
        inputs: of the phase, whose part is compiled.
        count: of the parts of a batch.
        tasks: compute `compute_part`.
    """

    def __init__(self, inputs: PhaseInputs, count: int, tasks: Tasks) -> None:
        self._part, self._count, self._tasks = inputs.part, count, tasks
        self._states = used_states(inputs.part)
        self._update = tf.function(self._apply, reduce_retracing=True)

    def __call__(self, iterator: Iterator) -> dict[str, Any]:
        """Do one step, and return the metrics of the epoch so far."""
        batch = next(iterator)
        targets = batch[1]
        parts = np.array_split(np.arange(len(targets)), min(self._count, len(targets)))
        scale = float(self._part.optimizer.scale_loss(tf.constant(1.0)))
        shards = [(rows_of(batch, part), scale * len(part) / len(targets)) for part in parts]
        variables = to_numpy([*self._part.trainable_variables, *self._states])
        losses, outputs, gradients, states = zip(*self._tasks.together(shards, variables), strict=True)
        assign_all(self._states, states[0])  # the parts have random masks in common, as several devices have
        loss = np.average(losses, weights=[len(part) for part in parts])
        summed = [reduce(np.add, several) for several in zip(*gradients, strict=True)]
        return self._update(batch[1:], np.float32(loss), np.concatenate(outputs), summed)

    def _apply(self, targets: tuple, loss: tf.Tensor, outputs: tf.Tensor, gradients: list[tf.Tensor]) -> dict[str, Any]:
        self._part.metrics[0].update_state(loss, sample_weight=tf.shape(outputs)[0])
        self._part.optimizer.apply(gradients, self._part.trainable_variables)
        return self._part.compute_metrics(None, targets[0], outputs, *targets[1:])
