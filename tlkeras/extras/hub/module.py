"""Open a SavedModel by the conventions of TensorFlow Hub: a function from inputs to features, its weights, its losses.

They are in https://www.tensorflow.org/hub/reusable_saved_models. What Keras 3 exports has `serve` instead of
`__call__`, and other files have signatures only; all three are supported.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import tensorflow as tf

from tlkeras.errors import UserError, first_sentence
from tlkeras.extras.hub.safety import SIGNATURES, check_graph

OUTPUT_KEYS = ("default", "feature_vector", "pooled_output", "output_0")
# A layer of a network that Keras 2 saved, which divides pixels of 0 to 255; a larger scale is for pixels of 0 to 1.
RESCALING = re.compile(rb'"class_name": "Rescaling".{1,400}?"scale": ([-+.\deE]+)')
MAX_SCALE = 1 / 100

Run = Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Module:
    """A SavedModel, loaded.

    Attributes:
        root: what TensorFlow loaded; it must live as long as the others.
        run: from a batch of inputs to features, in inference mode.
        spec: shape and dtype of the input, batch axis first.
        variables: all weights.
        trainable: those that the module means to be fine-tuned.
        losses: functions without arguments, one for each regularization loss.
    """

    name: str
    root: Any
    run: Run
    spec: tf.TensorSpec
    variables: list[tf.Variable]
    trainable: list[tf.Variable]
    losses: list[Callable[[], tf.Tensor]]

    def output_size(self, input_size: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the features of inputs of a shape, both without the batch axis."""
        step = tf.function(self.run).get_concrete_function(tf.TensorSpec((None, *input_size), self.spec.dtype))
        shape = step.structured_outputs.shape
        if shape.rank not in (2, 3, 4) or shape[-1] is None:
            raise UserError(
                f"The module {self.name} gives features of shape {shape}; a head needs (None, C), (None, T, C) or "
                "(None, h, w, C), with a known C."
            )
        return tuple(shape[1:])


def open_module(folder: Path) -> Module:
    """Load a module from its folder."""
    check_graph(folder / "saved_model.pb")
    try:
        root = tf.saved_model.load(str(folder))
    except Exception as error:  # of many kinds where files are damaged
        raise UserError(
            f"{folder} cannot be loaded as a SavedModel ({first_sentence(error)}). Get it again."
        ) from error
    run, traces = feature_function(root, folder)
    inputs = [tensor_inputs(trace) for trace in traces]
    if not all(len(specs) == 1 for specs in inputs):
        raise UserError(f"{folder} takes {max(map(len, inputs))} tensors; a feature module takes one.")
    listed, trainable = getattr(root, "variables", None) or [], getattr(root, "trainable_variables", None)
    captured = [variable for trace in traces for variable in trace.graph.variables]
    variables = list({id(variable): variable for variable in [*listed, *(trainable or []), *captured]}.values())
    if trainable is None:
        trainable = [variable for variable in variables if variable.trainable]
    trainable = [variable for variable in trainable if variable.dtype.is_floating]
    losses = list(getattr(root, "regularization_losses", None) or [])
    shape = inputs[0][0].shape
    for (spec,) in inputs[1:]:  # None where the traces differ, such as (None, 224, 224, 3)
        shape = shape.most_specific_compatible_shape(spec.shape)
    run, spec = on_batches(run, tf.TensorSpec(shape, inputs[0][0].dtype))
    return Module(folder.name, root, run, spec, variables, trainable, losses)


def on_batches(run: Run, spec: tf.TensorSpec) -> tuple[Run, tf.TensorSpec]:
    """Return a function of batches of examples, and what it takes; that is what most modules have anyway.

    For a column of texts `(None, 1)`, as in Keras 2, it takes `(None,)`; for one audio clip, `(None,)` or `(samples,)`,
    as in many audio modules, `(None, samples)`, one clip after the other.
    """
    if spec.dtype == tf.string and spec.shape.rank == 2 and spec.shape[1] == 1:
        return lambda texts: run(texts[:, None]), tf.TensorSpec(spec.shape[:1], tf.string)
    if is_one_clip(spec):
        features = tf.function(run).get_concrete_function(spec).structured_outputs
        result = tf.TensorSpec(features.shape, features.dtype)
        return lambda clips: tf.map_fn(run, clips, fn_output_signature=result), tf.TensorSpec((None, *spec.shape))
    return run, spec


def feature_function(root: Any, folder: Path) -> tuple[Run, list[Any]]:
    """Return the function from inputs to features, in inference mode, and the concrete functions that it may run."""
    function = root.__call__ if callable(root) else getattr(root, "serve", None)
    if function is not None and getattr(function, "concrete_functions", None):
        names = function.function_spec.fullargspec
        call = partial(function, **({"training": False} if "training" in [*names.args, *names.kwonlyargs] else {}))
        traces = list(function.concrete_functions)
        firsts = [(trace.structured_input_signature[0] or (None,))[0] for trace in traces]
        if not all(isinstance(first, tf.TensorSpec) for first in firsts):
            raise UserError(f"{folder} takes its input by name or in a dictionary; a module takes one tensor.")
        of_one_clip = [is_one_clip(spec) for spec in tensor_inputs(traces[0])] == [True]
        return lambda inputs: pick_features(call(inputs), folder, of_one_clip), traces
    key = next((key for key in SIGNATURES if key in root.signatures), None)
    if key is None:
        raise UserError(f"{folder} has no function to call: neither __call__, serve nor a signature. Is it a module?")
    trace = root.signatures[key]
    name = next(iter(trace.structured_input_signature[1]))
    return lambda inputs: pick_features(trace(**{name: inputs}), folder), [trace]


def is_one_clip(spec: tf.TensorSpec) -> bool:
    """Return whether an input is the samples of one audio clip rather than a batch."""
    return spec.dtype.is_floating and spec.shape.rank == 1


def pick_features(outputs: Any, folder: Path, of_one_clip: bool = False) -> tf.Tensor:
    """Return the features `(B, …)` among a module's outputs: the only one, or the one with a common name.

    Of one clip they are the second of three, as YAMNet returns scores, features and a spectrogram
    (https://www.kaggle.com/models/google/yamnet).
    """
    if isinstance(outputs, list | tuple):
        if len(outputs) in ((1, 3) if of_one_clip else (1,)):
            return outputs[len(outputs) // 2]
        raise UserError(f"{folder} returns a sequence of {len(outputs)} outputs; a feature module returns one.")
    if not isinstance(outputs, dict):
        return outputs
    key = next((key for key in OUTPUT_KEYS if key in outputs), next(iter(outputs)) if len(outputs) == 1 else None)
    if key is None:
        raise UserError(f"{folder} returns several outputs ({', '.join(outputs)}), none of them called default.")
    return outputs[key]


def tensor_inputs(trace: Any) -> list[tf.TensorSpec]:
    """Return what a concrete function takes apart from a flag for training."""
    specs = tf.nest.flatten(trace.structured_input_signature)
    return [spec for spec in specs if isinstance(spec, tf.TensorSpec) and spec.dtype != tf.bool]


def rescales_pixels(folder: Path) -> bool:
    """Return whether a network that Keras 2 saved says that it scales pixels of 0 to 255 itself."""
    file = folder / "keras_metadata.pb"
    found = RESCALING.search(file.read_bytes()) if file.is_file() else None
    return found is not None and float(found[1]) < MAX_SCALE
