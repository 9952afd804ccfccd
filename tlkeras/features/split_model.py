"""Split a model in two where its frozen part ends. The parts share the model's layers: nothing is copied back."""

from dataclasses import dataclass

import keras

from tlkeras.models.introspect import decoded_input, get_backbone
from tlkeras.models.keras_private import nested_io, nodes_in_order, source_of


@dataclass(frozen=True)
class Parts:
    """A model in parts that share its layers.

    `below` goes from decoded examples, such as resized pixels `(B, S, S, 3)`, 0–255, to the pooled features `(B, C)`
    and, where the model is split, the tensors at the split: one, in NASNet two or three. The layers between the split
    and the pooling are in it too, as phase 1 needs what comes out of them.
    """

    below: keras.Model
    head: keras.Model  # pooled features to the model's output
    above: keras.Model | None  # the tensors at the split to pooled features; None without a split
    upper: keras.Model | None  # the same to the model's output


def split_model(model: keras.Model, first: int) -> Parts:
    """Split a model from `build_classifier` after its pooling and, unless `first` is 0, below that backbone layer."""
    decoded, pooled = decoded_input(model), model.get_layer("pool").output
    head = keras.Model(pooled, model.output)
    if not first:
        return Parts(keras.Model(decoded, [pooled]), head, None, None)
    backbone = get_backbone(model)
    scaled, features = nested_io(model, backbone)
    crossing = boundary_tensors(backbone, first)
    inputs = keras.Input(decoded.shape[1:], dtype=decoded.dtype)
    ready = inputs if decoded is scaled else keras.Model(decoded, scaled)(inputs)
    lower = keras.Model(backbone.input, crossing)(ready)
    at_split = keras.tree.map_structure(lambda tensor: keras.Input(tensor.shape[1:], dtype=tensor.dtype), crossing)
    top, pooling = keras.Model(crossing, backbone.output), keras.Model(features, pooled)
    below = keras.Model(inputs, [pooling(top(lower)), *keras.tree.flatten(lower)])
    above = keras.Model(at_split, pooling(top(at_split)))
    return Parts(below, head, above, keras.Model(at_split, head(above.output)))


def boundary_tensors(backbone: keras.Model, first: int) -> keras.KerasTensor | tuple[keras.KerasTensor, ...]:
    """Return what the backbone layers from `first` on, and all that depends on them, take from below.

    That is one symbolic tensor, such as `(None, h, w, C)`, or a tuple of them where layers skip over the split.
    """
    upper = {id(layer) for layer in backbone.layers[first:]}
    crossing: dict[int, keras.KerasTensor] = {}
    for operation, inputs in nodes_in_order(backbone):
        sources = [(tensor, id(source_of(tensor))) for tensor in inputs]
        if id(operation) in upper or any(source in upper for _, source in sources):
            upper.add(id(operation))
            crossing |= {id(tensor): tensor for tensor, source in sources if source not in upper}
    tensors = tuple(crossing.values())
    return tensors if len(tensors) > 1 else tensors[0]
