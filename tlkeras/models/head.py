"""The head on top of a backbone: from a feature map to outputs. Another head is a change of this file alone."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from tlkeras.config.extensions import name_of
from tlkeras.errors import UserError, first_sentence


def pool(x: keras.KerasTensor, pooling: str, precision: str) -> keras.KerasTensor:
    """Make one vector of a feature map `(B, h, w, C)` or a sequence `(B, T, C)`; vectors `(B, C)` stay as they are.

    `pooling` is "avg" (Lin et al. 2014, arXiv:1312.4400), "max", or "both", side by side: `(B, 2C)`.
    """
    if len(x.shape) == 2:
        return layers.Identity(dtype=precision, name="pool")(x)
    rank = len(x.shape) - 2
    average = getattr(layers, f"GlobalAveragePooling{rank}D")
    maximum = getattr(layers, f"GlobalMaxPooling{rank}D")
    if pooling == "both":
        parts = [average(dtype=precision, name="average")(x), maximum(dtype=precision, name="maximum")(x)]
        return layers.Concatenate(dtype=precision, name="pool")(parts)
    return (average if pooling == "avg" else maximum)(dtype=precision, name="pool")(x)


def add_head(
    x: keras.KerasTensor,
    num_outputs: int,
    activation: str,
    hidden_units: Sequence[int],
    dropout: float,
    l2: float,
    precision: str,
    own: Any = None,
) -> keras.KerasTensor:
    """Add the head to pooled features `(B, C)`: hidden ReLU layers, dropout (arXiv:1207.0580) before each, output.

    A layer or function of one's own takes the place of hidden layers and dropout. The output layer is float32, starts
    at zero; `l2` is a penalty on all kernels, `precision` a dtype policy.
    """
    penalty = keras.regularizers.L2(l2) if l2 else None
    for index, units in enumerate(hidden_units, start=1):
        x = layers.Dropout(dropout, name=f"dropout_{index}")(x)
        x = layers.Dense(units, "relu", kernel_regularizer=penalty, dtype=precision, name=f"hidden_{index}")(x)
    x = own_head(own, x) if own is not None else layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    output = {"kernel_initializer": "zeros", "kernel_regularizer": penalty, "dtype": "float32", "name": "output"}
    return layers.Dense(num_outputs, activation, **output)(x)


def own_head(own: Any, x: keras.KerasTensor) -> keras.KerasTensor:
    """Return what a head of one's own makes of pooled features; refuse one that fails, or gives no vectors."""
    wanted = f"give a Keras layer or a function from features (B, {x.shape[-1]}) to (B, F)"
    if not callable(own) or isinstance(own, type):
        raise UserError(f"head was {own!r}; {wanted}.")
    try:
        made = own(x)
    except Exception as error:  # of any kind: it is the user's code
        reason = first_sentence(error)
        raise UserError(f"head={name_of(own)} fails on features (B, {x.shape[-1]}): {reason}; {wanted}.") from error
    if not isinstance(made, keras.KerasTensor) or len(made.shape) != 2 or made.shape[-1] is None:
        raise UserError(f"head={name_of(own)} gave {getattr(made, 'shape', made)}; {wanted}.")
    return made
