"""The backbone of a model, frozen, and what stands in front of it: input, resizing, scaling of pixels."""

import logging

import keras
from keras import layers, ops

from tlkeras.backbones import HUB, Backbone
from tlkeras.extras.hub.layer import HubModule
from tlkeras.models.weights import load_backbone_weights

log = logging.getLogger("tlkeras")

# Means and deviations of ImageNet, on the 0–255 scale, as in keras.applications.imagenet_utils.preprocess_input.
CAFFE_MEAN_BGR = [103.939, 116.779, 123.68]
TORCH_MEAN_RGB = [123.675, 116.28, 103.53]
TORCH_VARIANCE_RGB = [58.395**2, 57.12**2, 57.375**2]


def add_image_backbone(
    spec: Backbone, size: int, weights: str, precision: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The lower part of a model for pictures: resizing, scaling, backbone.

    Args:
        row: of the backbone.
        size: pixels a side.
        weights: "imagenet", "none" (random) or a weight file.
        precision: dtype policy of its layers.

    Returns:
        Pixels `(B, H, W, 3)`, 0–255, and features, such as `(B, h, w, C)`.
    """
    inputs = keras.Input((None, None, 3), name="image")
    x = layers.Resizing(size, size, crop_to_aspect_ratio=True, antialias=True, dtype="float32", name="resize")(inputs)
    own = spec.module is None
    backbone = build_backbone(spec, size, weights, precision) if own else build_hub_backbone(spec, (size, size, 3))
    return inputs, backbone(preprocess_input(x, spec.pixels))


def add_module(spec: Backbone) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """The lower part of a model that is not for pictures: a TensorFlow Hub module.

    Args:
        row: of the module.

    Returns:
        Texts `(B,)`, or sounds `(B, samples)`; and features, such as `(B, C)`.
    """
    if spec.form == "texts":
        inputs = keras.Input((), dtype="string", name="text")
    else:
        inputs = keras.Input((spec.max_size,), name="sound")  # None where it takes any number of samples
    return inputs, build_hub_backbone(spec, inputs.shape[1:])(inputs)


def build_backbone(spec: Backbone, size: int, weights: str, precision: str = "float32") -> keras.Model:
    """Build the backbone alone, frozen, with nothing random in it.

    Dropout and stochastic depth inside the backbone are set to rate zero: a frozen backbone must give the same
    features for the same pixels, and Keras leaves them active during `fit`.

    Args:
        row: of the table.
        size: pixels a side.
        weights: "imagenet", "none" (random) or a weight file; see `tlkeras.models.weights`.
        precision: dtype policy of its layers.

    Returns:
        A functional model from pixels `(B, size, size, 3)`, scaled as the row says, to features `(B, h, w, C)`.

    Raises:
        UserError: the weights cannot be used.
    """
    previous = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        constructor = getattr(keras.applications, spec.constructor)
        backbone = constructor(include_top=False, weights=None, input_shape=(size, size, 3), **spec.arguments)
    finally:
        keras.config.set_dtype_policy(previous)
    backbone.name = spec.name  # not by the constructor: EfficientNetV2 and ConvNeXt use its name for other things
    for layer in backbone._flatten_layers():
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    description = load_backbone_weights(backbone, spec, weights, size)
    log.info("Backbone: %s at %d px, %s.", spec.name, size, description)
    backbone.trainable = False
    return backbone


def build_hub_backbone(spec: Backbone, input_size: tuple[int | None, ...]) -> keras.Model:
    """A TensorFlow Hub module alone: inputs `(B, *input_size)` to features; frozen, in inference mode."""
    inputs = keras.Input(input_size, name="inputs", dtype="string" if spec.form == "texts" else "float32")
    module = HubModule(spec.module, input_size, source=spec.name, name=HUB.stages[0].layer)
    backbone = keras.Model(inputs, module(inputs), name=HUB.name)
    size = f" at {input_size[0]} px" if spec.form == "pictures" else ""
    log.info("Backbone: %s%s, weights of the module.", spec.name, size)
    backbone.trainable = False
    return backbone


def preprocess_input(x: keras.KerasTensor, pixels: str) -> keras.KerasTensor:
    """Scale pixels to what the backbone's weights were trained on, out of built-in layers.

    Args:
        x: RGB, 0–255, `(B, H, W, 3)`.
        pixels: the scaling, as in a row of the table.

    Returns:
        The same shape, float32.
    """
    if pixels == "tf":
        return layers.Rescaling(1 / 127.5, offset=-1.0, dtype="float32", name="scale")(x)
    if pixels == "unit":
        return layers.Rescaling(1 / 255, dtype="float32", name="scale")(x)
    if pixels == "caffe":
        x = ops.flip(x, axis=-1)
        return layers.Normalization(mean=CAFFE_MEAN_BGR, variance=[1.0] * 3, dtype="float32", name="scale")(x)
    if pixels == "torch":
        return layers.Normalization(mean=TORCH_MEAN_RGB, variance=TORCH_VARIANCE_RGB, dtype="float32", name="scale")(x)
    return x
