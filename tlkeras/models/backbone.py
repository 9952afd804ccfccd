"""The backbone of a model, frozen, and what comes before it: input, resizing, scaling of pixels."""

import logging

import keras
from keras import layers, ops

from tlkeras.backbones.spec import BackboneSpec, check_image_size
from tlkeras.config.fields import Resize
from tlkeras.models.keras_private import flatten_layers
from tlkeras.models.weights import load_backbone_weights

log = logging.getLogger("tlkeras")

# Means and variances of ImageNet, on the 0–255 scale, as in keras.applications.imagenet_utils.preprocess_input.
CAFFE_MEAN_BGR = [103.939, 116.779, 123.68]
TORCH_MEAN_RGB = [123.675, 116.28, 103.53]
TORCH_VARIANCE_RGB = [58.395**2, 57.12**2, 57.375**2]


def build_inputs_and_features(
    spec: BackboneSpec, *, weights: str, image_size: int | None, precision: str, resize: Resize
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Build the lower part of an image model: resizing, scaling, backbone of Keras Applications.

    That is from pixels `(B, H, W, 3)`, 0–255, to features `(B, h, w, C)`.
    """
    size = check_image_size(spec, image_size)
    inputs, x = resized_input(size, resize)
    return inputs, build_backbone(spec, size, weights, precision)(preprocess_input(x, spec.preprocess_mode))


def resized_input(size: int, resize: Resize) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the input of an image model `(B, H, W, 3)`, and its square, `(B, size, size, 3)`: see `box_size`."""
    inputs = keras.Input((None, None, 3), name="image")
    layer = layers.Resizing(size, size, crop_to_aspect_ratio=resize == "crop", pad_to_aspect_ratio=resize == "pad",
                            antialias=True, dtype="float32", name="resize")  # fmt: skip
    return inputs, layer(inputs)


def build_backbone(spec: BackboneSpec, size: int, weights: str, precision: str = "float32") -> keras.Model:
    """Build the backbone alone, frozen: pixels `(B, size, size, 3)`, scaled as the spec says, to `(B, h, w, C)`.

    The rate of dropout and stochastic depth inside the backbone is set to zero: a frozen backbone must give the same
    features for the same pixels, and Keras leaves them active during `fit`.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        constructor = getattr(keras.applications, spec.constructor)
        # Without name=: ConvNeXt puts it in front of its layers' names, EfficientNetV2 fails with any but its own.
        backbone = constructor(include_top=False, weights=None, input_shape=(size, size, 3), **spec.constructor_args)
    finally:
        keras.config.set_dtype_policy(previous)
    backbone.name = spec.name
    for layer in flatten_layers(backbone):
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    description = load_backbone_weights(backbone, spec, weights, size)
    log.info("Backbone: %s at %d px, %s.", spec.name, size, description)
    backbone.trainable = False
    return backbone


def preprocess_input(x: keras.KerasTensor, mode: str) -> keras.KerasTensor:
    """Scale RGB pixels `(B, H, W, 3)`, 0–255, to what the backbone was trained on, float32, with built-in layers.

    For the modes see `BackboneSpec.preprocess_mode`.
    """
    if mode == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scale")(x)
    if mode == "unit":
        return layers.Rescaling(1 / 255, dtype="float32", name="scale")(x)
    if mode == "caffe":
        x = ops.flip(x, axis=-1)
        return layers.Normalization(mean=CAFFE_MEAN_BGR, variance=[1.0] * 3, dtype="float32", name="scale")(x)
    if mode == "torch":
        return layers.Normalization(mean=TORCH_MEAN_RGB, variance=TORCH_VARIANCE_RGB, dtype="float32", name="scale")(x)
    return x
