"""Statistics of BatchNormalization layers: those of real images for random weights, or blended into pretrained ones."""

import keras
import numpy as np

from tlkeras.errors import UserError
from tlkeras.models.introspect import get_backbone
from tlkeras.models.keras_private import flatten_layers, nested_io

ADAPTED = 512  # training images whose statistics a run blends in
BATCH_SIZE = 32  # examples whose activations of all layers are in memory at once
# How far BatchNormalization's moving statistics look back: this fraction of all steps, within these bounds.
STATISTICS_FRACTION = 0.02
MIN_STATISTICS_STEPS, MAX_STATISTICS_STEPS = 10, 100


def calibrate_batch_norm(model: keras.Model, images: np.ndarray) -> None:
    """Set each BatchNormalization layer's moving statistics to those of some images.

    Fresh statistics (mean 0, variance 1) in inference mode let the signal of a deep random network die out, layer by
    layer, until its features are all alike. Pretrained weights bring their own statistics: see `adapt_batch_norm`.

    Args:
        model: a model from `build_classifier(weights="none")`.
        images: `(B, S, S, 3)` pixels, 0–255, of training images; 64 or more are plenty.

    Example:
        >>> tlkeras.calibrate_batch_norm(model, splits["train"].spread(128)[0])
    """
    blend_statistics(model, images, 1.0)


def adapt_batch_norm(model: keras.Model, images: np.ndarray, fraction: float = 0.5) -> None:
    """Blend the statistics of some images into those of a pretrained backbone (AdaBN, Li et al. 2017).

    The weights stay as they are. Each layer's mean and variance of the images are those behind layers that normalize
    by these images too (arXiv:1603.04779).

    Args:
        model: a model from `build_classifier`, before its training.
        images: `(B, S, S, 3)` pixels, 0–255, of training images; some hundred.
        fraction: of the images' statistics in the result, from 0 to 1.

    Raises:
        UserError: the backbone has no BatchNormalization layers, or hides them.

    Example:
        >>> tlkeras.adapt_batch_norm(model, splits["train"].spread(512)[0])
    """
    if not blend_statistics(model, images, fraction):
        name = get_backbone(model).name
        raise UserError(f"{name} has no BatchNormalization layers to adapt. Leave --batch-norm out.")


def blend_statistics(model: keras.Model, images: np.ndarray, fraction: float) -> bool:
    """Blend the statistics of images into those of the backbone's layers; return whether there are such layers.

    Passes in training mode, in which each layer normalizes what really reaches it; the momentum is such that the moving
    statistics become the means over equally large batches.
    """
    backbone = get_backbone(model)
    layers = [layer for layer in flatten_layers(backbone) if isinstance(layer, keras.layers.BatchNormalization)]
    if not layers:
        return False
    scale = keras.Model(model.input, nested_io(model, backbone)[0])
    before = [(layer.trainable, layer.momentum, layer.moving_mean.numpy(), layer.moving_variance.numpy())
              for layer in layers]  # fmt: skip
    backbone.trainable = True
    for number, batch in enumerate(np.array_split(images, -(-len(images) // BATCH_SIZE))):
        for layer in layers:
            layer.momentum = number / (number + 1)
        backbone(scale(batch.astype("float32")), training=True)
    backbone.trainable = False
    for layer, (trainable, momentum, mean, variance) in zip(layers, before, strict=True):
        layer.trainable, layer.momentum = trainable, momentum
        layer.moving_mean.assign(fraction * layer.moving_mean + (1 - fraction) * mean)
        layer.moving_variance.assign(fraction * layer.moving_variance + (1 - fraction) * variance)
    return True


def set_statistics_momentum(model: keras.Model, steps: int) -> None:
    """Let BatchNormalization forget at a pace that fits the length of the training.

    Keras' MobileNetV2 looks back a thousand steps, in which a small dataset would never arrive at its statistics.
    """
    looked_back = min(max(STATISTICS_FRACTION * steps, MIN_STATISTICS_STEPS), MAX_STATISTICS_STEPS)
    for layer in flatten_layers(get_backbone(model)):
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum(looked_back)


def momentum(steps: float) -> float:
    """Return the momentum of a moving average that looks back about so many steps."""
    return 1 - 1 / max(steps, 1)
