"""What tlkeras takes from inside Keras and TensorFlow: if a test fails after an upgrade, the name in it has changed."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tlkeras.features.engines import make_engine
from tlkeras.models.keras_private import (
    add_variables,
    build_from_shapes,
    flatten_layers,
    nested_io,
    nodes_in_order,
    source_of,
    variable_index,
)

ROOT = Path(__file__).parents[2] / "tlkeras"
PRIVATE = (
    r"keras\.src|_flatten_layers|_inbound_nodes|_nodes_by_depth|_keras_history|_get_variable_index|_track(er|_variable)"
    r"|_symbolic_build|_maybe_symbolic_build"
)


@pytest.fixture
def nested() -> keras.Model:
    """Return a small model with a branch that skips its second layer."""
    inputs = keras.Input((4,), name="nested_input")
    x = layers.Dense(3, name="first")(inputs)
    y = layers.Dense(3, name="second")(x)
    return keras.Model(inputs, layers.Add(name="add")([x, y]), name="nested")


@pytest.fixture
def model(nested) -> keras.Model:
    inputs = keras.Input((4,), name="input")
    x = layers.Rescaling(2.0, name="scale")(inputs)
    x = layers.Dense(2, name="output")(nested(x))
    return keras.Model(inputs, x, name="model")


def values(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def test_flatten_layers_goes_into_nested_models(model):
    names = {layer.name for layer in flatten_layers(model)}
    assert names == {"model", "input", "scale", "nested", "nested_input", "first", "second", "add", "output"}


def test_flatten_layers_goes_into_wrapped_layers():
    wrapper = layers.TimeDistributed(layers.BatchNormalization(name="inside"))
    assert "inside" in {layer.name for layer in flatten_layers(wrapper)}


def test_nested_io_is_what_goes_in_and_comes_out(model, nested):
    before, after = nested_io(model, nested)
    x = np.ones((2, 4), "float32")
    assert np.array_equal(values(keras.Model(model.input, before)(x)), 2 * x)
    assert np.array_equal(values(keras.Model(model.input, after)(x)), values(nested(2 * x)))


def test_nested_io_is_that_of_the_model_which_is_asked(model, nested):
    """A nested model may be part of several models."""
    inputs = keras.Input((4,))
    other = keras.Model(inputs, nested(inputs))
    assert nested_io(other, nested)[0] is inputs
    assert nested_io(model, nested)[0] is model.get_layer("scale").output
    with pytest.raises(ValueError, match="model is not a layer of nested"):
        nested_io(nested, model)


def test_nodes_are_in_the_order_of_computation(nested):
    steps = list(nodes_in_order(nested))
    assert [operation.name for operation, _ in steps] == ["nested_input", "first", "second", "add"]
    sources = {operation.name: [source_of(tensor).name for tensor in inputs] for operation, inputs in steps}
    assert sources == {"nested_input": [], "first": ["nested_input"], "second": ["first"], "add": ["first", "second"]}


def test_variable_index_is_that_of_the_variable_in_update_step(nested):
    class Recorder(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            seen[variable_index(self, variable)] = values(gradient).item(0)
            super().update_step(gradient, variable, learning_rate)

    seen: dict[int, float] = {}
    variables = nested.trainable_variables
    gradients = [keras.ops.full(variable.shape, float(index)) for index, variable in enumerate(variables)]
    Recorder(0.1).apply(gradients, variables)
    assert seen == {0: 0.0, 1: 1.0, 2: 2.0, 3: 3.0}


def test_variables_can_be_added_to_a_built_layer(tmp_path):
    layer = layers.Dense(2, name="dense")
    layer.build((None, 3))
    kernel, bias, added = *layer.weights, keras.Variable(np.ones(4), name="added")
    add_variables(layer, [added])
    assert [id(weight) for weight in layer.trainable_weights] == [id(kernel), id(bias), id(added)]
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.late = keras.Variable(np.ones(4))


def test_an_engine_holds_the_weights_as_constants(nested):
    """`convert_variables_to_constants_v2` of TensorFlow has no public name."""
    x = np.ones((2, 4), "float32")
    expected = values(nested(x))
    engine = make_engine(nested, "tensorflow")
    nested.set_weights([weight + 1 for weight in nested.get_weights()])
    np.testing.assert_allclose(engine([x])[0], expected, rtol=1e-6)


def test_no_other_file_uses_a_private_name():
    files = {path.name for path in ROOT.rglob("*.py") if re.search(PRIVATE, path.read_text(encoding="utf-8"))}
    assert files == {"keras_private.py"}


def test_metrics_are_built_from_shapes(model, monkeypatch):
    """Of any batch: `fit` and `evaluate` call what is replaced, and build nothing themselves."""
    model.compile("sgd", "mse", metrics=["mae"])
    build_from_shapes(model)
    built, replaced = [], model._maybe_symbolic_build
    monkeypatch.setattr(model, "_maybe_symbolic_build", lambda *given, **named: built.append(replaced(*given, **named)))
    model.evaluate(np.ones((3, 4)), np.ones((3, 2)), verbose=0)
    model.fit(np.ones((3, 4)), np.ones((3, 2)), verbose=0)
    assert len(built) == 2 and model._compile_metrics.built
