"""The private names of Keras that tlkeras needs still do what they did."""

import keras
import pytest

from tlkeras.models import keras_private


@pytest.fixture(scope="module")
def models() -> tuple[keras.Model, keras.Model]:
    """Return a model and the one nested in it: image -> scale -> nested(hidden) -> output."""
    inner = keras.Input((3,), name="inner")
    nested = keras.Model(inner, keras.layers.Dense(4, name="hidden")(inner), name="nested")
    image = keras.Input((3,), name="image")
    x = nested(keras.layers.Rescaling(2.0, name="scale")(image))
    return keras.Model(image, keras.layers.Dense(2, name="output")(x)), nested


def test_nested_layers(models):
    model, _ = models
    names = [layer.name for layer in keras_private.flatten_layers(model)]
    assert sorted(names) == sorted([model.name, "image", "scale", "nested", "inner", "hidden", "output"])
    assert keras_private.flatten_layers(model)[0] is model


def test_tensors_between_layers(models):
    model, nested = models
    given, returned = keras_private.nested_io(model, nested)
    assert keras_private.source_of(given) is model.get_layer("scale") and returned is model.get_layer("output").input
    with pytest.raises(ValueError, match="is not a layer of"):
        keras_private.nested_io(nested, model)
    nodes = list(keras_private.nodes_in_order(model))
    assert [operation.name for operation, _ in nodes] == ["image", "scale", "nested", "output"]
    assert nodes[2][1] == [given]


def test_the_variable_of_an_update_step():
    asked = []

    class Optimizer(keras.optimizers.SGD):
        def update_step(self, gradient, variable, learning_rate):
            asked.append(keras_private.variable_index(self, variable))

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    optimizer = Optimizer()
    optimizer.build(model.trainable_variables)
    optimizer.apply([keras.ops.ones((1, 1)), keras.ops.ones(1)])
    assert asked == [0, 1]


def test_variables_of_a_layer_that_is_built(models):
    layer = keras.layers.Rescaling(1.0)
    layer(keras.ops.ones((1, 3)))
    variables = [keras.Variable([1.0, 2.0], name="one"), keras.Variable([3.0], trainable=False, name="two")]
    keras_private.add_variables(layer, variables)
    assert layer.trainable_weights == variables[:1] and layer.non_trainable_weights == variables[1:]
