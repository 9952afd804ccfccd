"""Open a SavedModel the way TensorFlow Hub means it: a function from inputs to features, its weights, its losses.

The conventions are those of https://www.tensorflow.org/hub/reusable_saved_models: `__call__` with an optional
`training`, `variables`, `trainable_variables`, `regularization_losses`. What Keras 3 exports has `serve` in place of
`__call__`, and other files have signatures only; all three are taken.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from tlkeras.errors import UserError
from tlkeras.extras.hub.safety import SIGNATURES, check_graph

OUTPUT_KEYS = ("default", "feature_vector", "pooled_output", "output_0")
# A layer of a network that Keras 2 saved, which divides pixels of 0 to 255; another scale is for pixels of 0 to 1.
RESCALING = re.compile(rb'"class_name": "Rescaling".{1,400}?"scale": ([-+.\deE]+)')
GREATEST_SCALE = 1 / 100


Run = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Module:
    """A SavedModel, loaded.

    Attributes:
        name: its folder's.
        root: what TensorFlow loaded; it must live as long as the others.
        run: a batch of inputs to features, in inference mode.
        spec: shape and dtype of the input, batch axis first.
        variables: all weights.
        trainable: those that the module means to be fine-tuned.
        losses: functions without arguments, one for each regularisation loss.
    """

    name: str
    root: Any
    run: Run
    spec: tf.TensorSpec
    variables: list[tf.Variable]
    trainable: list[tf.Variable]
    losses: list[Callable[[], tf.Tensor]]

    def output_size(self, input_size: tuple[int, ...]) -> tuple[int | None, ...]:
        """Shape of the features of inputs of a shape, both without the batch axis.

        Raises:
            UserError: they are neither a vector `(C,)`, a sequence `(T, C)` nor a map `(h, w, C)`, or of unknown size.
        """
        step = tf.function(self.run).get_concrete_function(tf.TensorSpec((None, *input_size), self.spec.dtype))
        shape = step.structured_outputs.shape
        if shape.rank not in (2, 3, 4) or shape[-1] is None:
            raise UserError(f"The module {self.name} gives features of shape {shape}; a head needs (None, C), "
                            "(None, T, C) or (None, h, w, C), with a known C.")  # fmt: skip
        return tuple(shape[1:])


def open_module(folder: Path) -> Module:
    """Load a module from its folder.

    Raises:
        UserError: the file is damaged, is in TensorFlow 1's format, has operations that touch files, or no function
            that takes one tensor.
    """
    check_graph(folder / "saved_model.pb")
    try:
        root = tf.saved_model.load(str(folder))
    except Exception as error:  # of many kinds where files are damaged
        raise UserError(f"{folder} cannot be loaded as a SavedModel ({first_line(error)}). Get it again.") from error
    run, steps = function_of(root, folder)
    inputs = [tensor_inputs(step) for step in steps]
    if not all(len(specs) == 1 for specs in inputs):
        raise UserError(f"{folder} takes {max(map(len, inputs))} tensors; a feature module takes one.")
    own, learning = getattr(root, "variables", None) or [], getattr(root, "trainable_variables", None)
    captured = [one for step in steps for one in step.graph.variables]
    variables = list({id(one): one for one in [*own, *(learning or []), *captured]}.values())
    learning = [one for one in variables if one.trainable] if learning is None else learning
    trainable = [one for one in learning if one.dtype.is_floating]
    losses = list(getattr(root, "regularization_losses", None) or [])
    run, spec = on_batches(run, most_general([specs[0] for specs in inputs]))
    return Module(folder.name, root, run, spec, variables, trainable, losses)


def on_batches(run: Run, spec: tf.TensorSpec) -> tuple[Run, tf.TensorSpec]:
    """A function on batches of examples, and what it takes: what modules do, with two exceptions.

    Args:
        run: of a module.
        spec: what the module takes.

    Returns:
        For texts in a column `(None, 1)`, as Keras 2 likes them, a function of `(None,)`; for one sound `(None,)` or
        `(samples,)`, as many modules for sounds have it, a function of `(None, samples)`, one sound after the other.
    """
    if spec.dtype == tf.string and spec.shape.rank == 2 and spec.shape[1] == 1:
        return lambda texts: run(texts[:, None]), tf.TensorSpec(spec.shape[:1], tf.string)
    if spec.dtype.is_floating and spec.shape.rank == 1:
        features = tf.function(run).get_concrete_function(spec).structured_outputs
        result = tf.TensorSpec(features.shape, features.dtype)
        return lambda sounds: tf.map_fn(run, sounds, fn_output_signature=result), tf.TensorSpec((None, *spec.shape))
    return run, spec


def function_of(root: Any, folder: Path) -> tuple[Run, list[Any]]:
    """The function from inputs to features, in inference mode, and the graphs that it may run.

    Raises:
        UserError: there is none, or it does not take its input as its first argument.
    """
    function = root.__call__ if callable(root) else getattr(root, "serve", None)
    if function is not None and getattr(function, "concrete_functions", None):
        names = function.function_spec.fullargspec
        options = {"training": False} if "training" in [*names.args, *names.kwonlyargs] else {}
        call = partial(function, **options)
        firsts = [(step.structured_input_signature[0] or (None,))[0] for step in function.concrete_functions]
        if not all(isinstance(first, tf.TensorSpec) for first in firsts):
            raise UserError(f"{folder} takes its input by a name or in a dictionary; a module takes one tensor.")
        steps = list(function.concrete_functions)
        return lambda inputs: features_in(call(inputs), folder, takes_one_sound(steps[0])), steps
    signatures = {key: root.signatures[key] for key in root.signatures if not key.startswith("__")}
    key = next((key for key in SIGNATURES if key in signatures), None)
    if key is None:
        raise UserError(f"{folder} has no function to call: neither __call__, serve nor a signature. Is it a module?")
    step = signatures[key]
    name = next(iter(step.structured_input_signature[1]))
    return lambda inputs: features_in(step(**{name: inputs}), folder), [step]


def takes_one_sound(step: Any) -> bool:
    """Whether a graph takes the samples of one sound, `(None,)` or `(samples,)`, rather than a batch."""
    return [spec.dtype.is_floating and spec.shape.rank == 1 for spec in tensor_inputs(step)] == [True]


def features_in(outputs: Any, folder: Path, of_one_sound: bool = False) -> tf.Tensor:
    """The features `(B, …)` among a module's outputs: the only one, or the one with a usual name.

    Args:
        outputs: of a module: a tensor, or several in a row or by their names.
        folder: the module's, for messages.
        of_one_sound: of three in a row they are then the second, as YAMNet gives scores, features and a spectrogram
            (https://www.kaggle.com/models/google/yamnet).

    Raises:
        UserError: there are several, none of them with a usual name.
    """
    if isinstance(outputs, list | tuple) and len(outputs) in ((1, 3) if of_one_sound else (1,)):
        return outputs[len(outputs) // 2]
    if isinstance(outputs, list | tuple):
        raise UserError(f"{folder} gives {len(outputs)} outputs in a row; a feature module gives one.")
    if not isinstance(outputs, dict):
        return outputs
    key = next((key for key in OUTPUT_KEYS if key in outputs), next(iter(outputs)) if len(outputs) == 1 else None)
    if key is None:
        raise UserError(f"{folder} gives several outputs ({', '.join(outputs)}), none of them called default.")
    return outputs[key]


def tensor_inputs(step: Any) -> list[tf.TensorSpec]:
    """What a graph takes beside a flag for training."""
    specs = tf.nest.flatten(step.structured_input_signature)
    return [one for one in specs if isinstance(one, tf.TensorSpec) and one.dtype != tf.bool]


def most_general(specs: list[tf.TensorSpec]) -> tf.TensorSpec:
    """One shape for all graphs of a function, such as `(None, 224, 224, 3)`: None where they differ."""
    first = specs[0]
    shape = first.shape
    for one in specs[1:]:
        shape = shape.most_specific_compatible_shape(one.shape)
    return tf.TensorSpec(shape, first.dtype)


def scales_inside(folder: Path) -> bool:
    """Whether a network that Keras 2 saved says that it brings pixels of 0 to 255 to its own range."""
    file = folder / "keras_metadata.pb"
    found = RESCALING.search(file.read_bytes()) if file.is_file() else None
    return found is not None and float(found[1]) < GREATEST_SCALE


def first_line(error: Exception) -> str:
    """What an error says, without what follows."""
    return (str(error).splitlines() or [type(error).__name__])[0]
