"""Cut a model in two where its frozen part ends. The parts share the model's layers: nothing is copied back."""

from dataclasses import dataclass

import keras

from tlkeras.models.freezing import get_backbone
from tlkeras.models.introspect import decoded_input


@dataclass(frozen=True)
class Parts:
    """A model in parts that share its layers.

    Attributes:
        below: decoded examples, such as resized pixels `(B, S, S, 3)`, 0–255, to the pooled features `(B, C)` and,
            where the model is cut, the tensors at the cut: one, in NASNet two or three. The layers between the cut and
            the pooling are in it too, as phase 1 wants to know what comes out of them.
        head: pooled features to the model's output.
        upper: the tensors at the cut to the model's output; None without a cut.
    """

    below: keras.Model
    head: keras.Model
    upper: keras.Model | None


def split_model(model: keras.Model, first: int) -> Parts:
    """Cut a model from `build_classifier` behind its pooling and, unless `first` is 0, below backbone layer `first`."""
    decoded, pooled = decoded_input(model), model.get_layer("pool").output
    head = keras.Model(pooled, model.output)
    if not first:
        return Parts(keras.Model(decoded, [pooled]), head, None)
    backbone = get_backbone(model)
    scaled, features = backbone_io(backbone)
    crossing = boundary_tensors(backbone, first)
    inputs = keras.Input(decoded.shape[1:], dtype=decoded.dtype)
    ready = inputs if decoded is scaled else keras.Model(decoded, scaled)(inputs)
    lower = keras.Model(backbone.input, crossing)(ready)
    at_cut = keras.tree.map_structure(lambda tensor: keras.Input(tensor.shape[1:], dtype=tensor.dtype), crossing)
    top, pooling = keras.Model(crossing, backbone.output), keras.Model(features, pooled)
    below = keras.Model(inputs, [pooling(top(lower)), *keras.tree.flatten(lower)])
    return Parts(below, head, keras.Model(at_cut, head(pooling(top(at_cut)))))


def backbone_io(backbone: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The tensor that the model around it hands to a nested backbone, and the one that it gets back."""
    node = backbone._inbound_nodes[0]
    return node.input_tensors[0], node.output_tensors[0]


def boundary_tensors(backbone: keras.Model, first: int) -> keras.KerasTensor | tuple[keras.KerasTensor, ...]:
    """What the layers from `first` on, and all that depends on them, take from below.

    Args:
        backbone: the nested backbone.
        first: index into its layers.

    Returns:
        One symbolic tensor, such as `(None, h, w, C)`, or a tuple of them where layers skip over the cut.
    """
    upper = {id(layer) for layer in backbone.layers[first:]}
    crossing: dict[int, keras.KerasTensor] = {}
    for nodes in (backbone._nodes_by_depth[depth] for depth in sorted(backbone._nodes_by_depth, reverse=True)):
        for node in nodes:
            sources = [(tensor, id(tensor._keras_history.operation)) for tensor in node.input_tensors]
            if id(node.operation) in upper or any(source in upper for _, source in sources):
                upper.add(id(node.operation))
                crossing |= {id(tensor): tensor for tensor, source in sources if source not in upper}
    tensors = tuple(crossing.values())
    return tensors if len(tensors) > 1 else tensors[0]
