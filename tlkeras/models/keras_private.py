"""The private names of Keras that tlkeras needs; `tests/models/test_keras_private.py` tells if they change.

Keras has no public way to walk nested layers, to find the tensors between two layers, to know which variable an
optimizer's `update_step` is given, or to give a layer that is built already weights that were made elsewhere.
"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import keras


def flatten_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return a model and all layers inside it, those of nested models too."""
    return list(model._flatten_layers())


def nested_io(model: keras.Model, nested: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the tensor that a model hands to a nested model, and the one that it gets back."""
    for node in chain.from_iterable(model._nodes_by_depth.values()):
        if node.operation is nested:
            return node.input_tensors[0], node.output_tensors[0]
    raise ValueError(f"{nested.name} is not a layer of {model.name}")


def nodes_in_order(model: keras.Model) -> Iterator[tuple[keras.Operation, list[keras.KerasTensor]]]:
    """Yield each operation of a functional model with its input tensors, from input to output."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        for node in model._nodes_by_depth[depth]:
            yield node.operation, node.input_tensors


def source_of(tensor: keras.KerasTensor) -> keras.Operation:
    """Return the operation that a symbolic tensor comes from."""
    return tensor._keras_history.operation


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Return the index, in the list an optimizer was built for, of the variable that its `update_step` is given."""
    return optimizer._get_variable_index(variable)


# [part: devices]
def build_from_shapes(part: keras.Model) -> None:
    """Let `fit` and `evaluate` on several devices build metrics from the shapes of a model's inputs and outputs.

    Keras builds them from the mean of what the devices get of the first batch, and fails where the parts differ.
    """

    def build(*_: Any, **__: Any) -> None:
        with part.distribute_strategy.scope():
            part._symbolic_build(data_batch=(part.input, part.output))

    part._maybe_symbolic_build = build


# [/part]
def add_variables(layer: keras.layers.Layer, variables: Iterable[keras.Variable]) -> None:
    """Make variables weights of a layer that is built already."""
    layer._tracker.unlock()
    for variable in variables:
        layer._track_variable(variable)
    layer._tracker.lock()
