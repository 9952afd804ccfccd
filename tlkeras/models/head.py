"""The head on top of a backbone: from a feature map to outputs. Another head is a change of this file alone."""

from collections.abc import Sequence

import keras
from keras import layers


def pool(x: keras.KerasTensor, pooling: str, precision: str) -> keras.KerasTensor:
    """Make one vector of a feature map, or of a sequence of features.

    Args:
        x: features `(B, h, w, C)` or `(B, T, C)`; vectors `(B, C)` stay as they are.
        pooling: "avg" (Lin et al. 2014, arXiv:1312.4400), "max", or "both", side by side.
        precision: dtype policy of the layers.

    Returns:
        `(B, C)`, or `(B, 2C)` for "both".
    """
    if len(x.shape) == 2:
        return layers.Identity(dtype=precision, name="pool")(x)
    means, maxima = layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D
    if len(x.shape) == 3:
        means, maxima = layers.GlobalAveragePooling1D, layers.GlobalMaxPooling1D
    if pooling == "avg":
        return means(dtype=precision, name="pool")(x)
    if pooling == "max":
        return maxima(dtype=precision, name="pool")(x)
    average = means(dtype=precision, name="average")(x)
    maximum = maxima(dtype=precision, name="maximum")(x)
    return layers.Concatenate(dtype=precision, name="pool")([average, maximum])


def add_head(
    x: keras.KerasTensor,
    num_outputs: int,
    activation: str,
    hidden_units: Sequence[int],
    dropout: float,
    l2: float,
    precision: str,
) -> keras.KerasTensor:
    """Add the head to pooled features: hidden layers, dropout (arXiv:1207.0580) before each, output layer.

    Args:
        x: pooled features `(B, C)`.
        num_outputs: units of the output layer, which starts at zero.
        activation: of the output layer, a name of Keras.
        hidden_units: units of each hidden ReLU layer.
        dropout: rate, 0 to 1.
        l2: penalty on the kernels; 0 is none.
        precision: dtype policy of the hidden layers; the output is float32.

    Returns:
        Outputs `(B, num_outputs)`, float32.
    """
    penalty = keras.regularizers.L2(l2) if l2 else None
    for index, units in enumerate(hidden_units, start=1):
        x = layers.Dropout(dropout, name=f"dropout_{index}")(x)
        hidden = {"kernel_regularizer": penalty, "dtype": precision, "name": f"hidden_{index}"}
        x = layers.Dense(units, activation="relu", **hidden)(x)
    x = layers.Dropout(dropout, dtype="float32", name="dropout")(x)
    return layers.Dense(
        num_outputs,
        activation=activation,
        kernel_initializer="zeros",
        kernel_regularizer=penalty,
        dtype="float32",
        name="output",
    )(x)
