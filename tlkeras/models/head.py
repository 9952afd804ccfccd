"""The head on top of a backbone: from a feature map to outputs. Another head is a change of this file alone."""

from collections.abc import Sequence

import keras
from keras import layers


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
) -> keras.KerasTensor:
    """Add the head to pooled features `(B, C)`: hidden ReLU layers, dropout (arXiv:1207.0580) before each, output.

    The output layer is float32 and starts at zero; `l2` is a penalty on all kernels, `precision` a dtype policy.
    """
    penalty = keras.regularizers.L2(l2) if l2 else None
    for index, units in enumerate(hidden_units, start=1):
        x = layers.Dropout(dropout, name=f"dropout_{index}")(x)
        x = layers.Dense(units, "relu", kernel_regularizer=penalty, dtype=precision, name=f"hidden_{index}")(x)
    x = layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    output = {"kernel_initializer": "zeros", "kernel_regularizer": penalty, "dtype": "float32", "name": "output"}
    return layers.Dense(num_outputs, activation, **output)(x)
