"""A trained model as nothing but inference: what every format is converted from.

The antialiased resize of `keras.layers.Resizing` has no operator in LiteRT, ONNX or OpenVINO. It is linear and works on
each axis alone, so here it is two products with matrices that are computed from the size of the images.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2  # no public name

from tlkeras.config.fields import Resize
from tlkeras.features.engines import trace
from tlkeras.models.introspect import decoded_input, num_features, resize_mode

RESIZE = "resize_to_square"  # begins the names of the operations that do it
MIXED = re.compile(r'"mixed_b?float16"')  # names of policies
Outputs = dict[str, tf.Tensor]


class InferenceModel(tf.Module):
    """A model without training, from raw images, or other decoded examples, to outputs and features.

    Attributes:
        model: from decoded examples, such as images `(B, S, S, 3)`, to outputs and, where it has them, features.
        names: of the outputs: "probabilities" (of regression "values"), then perhaps "features".
        decoded: what `from_decoded` takes; images as float32, as the resize gives them.
        raw: what a call takes; for images these of any size, uint8 `(B, H, W, 3)`.
    """

    def __init__(self, trained: keras.Model, shape: Sequence[int], dtype: str, names: Sequence[str]) -> None:
        """Take a trained model, shape and dtype of one decoded example, and the names of the outputs."""
        super().__init__(name="inference")
        outputs = [trained.output, *([trained.get_layer("pool").output] if num_features(trained) else [])]
        self.model = keras.Model(decoded_input(trained), outputs)
        self.names, self.resize = list(names), resize_mode(trained)
        self.is_image = len(shape) == 3
        name = "images" if self.is_image else "inputs"
        taken = "float32" if self.is_image else "string" if dtype == "object" else dtype
        self.decoded = tf.TensorSpec((None, *shape), taken, name)
        self.raw = tf.TensorSpec((None, None, None, 3), dtype, name) if self.is_image else self.decoded

    def from_decoded(self, inputs: tf.Tensor) -> Outputs:
        """Return outputs `(B, K)` and features `(B, C)`, float32, by their names."""
        outputs = keras.tree.flatten(self.model(inputs, training=False))
        return {name: tf.cast(output, "float32") for name, output in zip(self.names, outputs, strict=True)}

    def decode_raw(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return what `from_decoded` takes; images are resized, all others are decoded already."""
        if not self.is_image:
            return inputs
        with tf.name_scope(RESIZE):
            return resize_to_square(inputs, self.decoded.shape[1], self.resize)

    def __call__(self, inputs: tf.Tensor) -> Outputs:
        """Do both."""
        return self.from_decoded(self.decode_raw(inputs))


def in_float32(model: keras.Model) -> keras.Model:
    """Return the same model, computing in float32; most formats have no bfloat16 and no mixture of types."""
    if not MIXED.search(model.to_json()):
        return model
    plain = keras.models.model_from_json(MIXED.sub('"float32"', model.to_json()))
    plain.set_weights(model.get_weights())
    return plain


def freeze(function: Callable[[tf.Tensor], Outputs], spec: tf.TensorSpec) -> Any:
    """Return a `tf.function` whose weights are constants of its graph, as every converter takes it.

    What holds a vocabulary cannot be frozen, and is returned with its variables.
    """
    plain = tf.function(function, [spec], autograph=False)
    concrete = trace(plain)
    frozen = convert_variables_to_constants_v2(concrete)
    if len(frozen.inputs) != 1:
        return plain
    names = sorted(concrete.structured_outputs)  # the order in which TensorFlow flattens a dict
    return tf.function(lambda inputs: dict(zip(names, frozen(inputs), strict=True)), [spec], autograph=False)


def resize_to_square(images: tf.Tensor, size: int, resize: Resize = "crop") -> tf.Tensor:
    """Resize images `(B, H, W, 3)` to float32 `(B, size, size, 3)`.

    Equal to the layer that `tlkeras.models.backbone` makes but for rounding. No shape depends on a value, so
    LiteRT knows all shapes before it runs and can use its fast kernels.
    """
    down, across = (tf.ones_like(line, "float32") for line in (images[0, :, 0, 0], images[0, 0, :, 0]))
    rows, columns = resize_matrix(down, across, size, resize), resize_matrix(across, down, size, resize)
    planes = tf.transpose(tf.cast(images, "float32"), [0, 3, 1, 2])
    planes = tf.matmul(rows[None, None], tf.matmul(planes, columns[None, None], transpose_b=True))
    return tf.transpose(planes, [0, 2, 3, 1])


def resize_matrix(along: tf.Tensor, other: tf.Tensor, size: int, resize: Resize = "crop") -> tf.Tensor:
    """Return the weights `(size, L)` that make `size` pixels of an image's pixels along one axis.

    Ones `(L,)` and `(M,)` tell the length of the axis and of the other one. It is the triangle filter, widened where
    the axis is reduced, of `tf.image.resize(antialias=True)`. Pixels that pad the image are black, so their weights
    count only in the sums.
    """
    side = length = tf.reduce_sum(along)
    start = tf.zeros(())  # of the square, from the first pixel on
    if resize == "crop":
        side = tf.minimum(length, tf.reduce_sum(other))
        start = tf.floor((length - side) / 2)
    elif resize == "pad":
        start = -tf.floor(tf.nn.relu(tf.reduce_sum(other) - length) / 2)
        side = length - 2 * start
    scale = side / size
    centers = (tf.range(size, dtype="float32") + 0.5) * scale

    def weights(pixels: tf.Tensor) -> tf.Tensor:
        values = tf.nn.relu(1.0 - tf.abs(pixels[None] - centers[:, None]) / tf.maximum(scale, 1.0))
        return values * tf.cast((pixels > 0.0) & (pixels < side), "float32")[None]

    pixels = tf.cumsum(along) - 0.5 - start
    whole = tf.cumsum(tf.concat([along, other], 0)) - 0.5 if resize == "pad" else pixels
    return weights(pixels) / tf.reduce_sum(weights(whole), axis=1, keepdims=True)
