"""Make a backbone with random weights usable: give its BatchNormalization layers the statistics of real images."""

import keras
import numpy as np

from tlkeras.models.introspect import get_backbone
from tlkeras.models.keras_private import flatten_layers, nested_io


def calibrate_batch_norm(model: keras.Model, images: np.ndarray) -> None:
    """Set each BatchNormalization layer's moving statistics to those of one batch.

    Fresh statistics (mean 0, variance 1) in inference mode let the signal of a deep random network die out, layer by
    layer, until its features are all alike. One pass in training mode with momentum 0 is enough: each layer then
    normalizes what really reaches it. Pretrained weights bring their own statistics and must not be calibrated.

    Args:
        model: a model from `build_classifier(weights="none")`.
        images: `(B, S, S, 3)` pixels, 0–255, of training images; 64 or more are plenty.

    Example:
        >>> tlkeras.calibrate_batch_norm(model, splits["train"].spread(128)[0])
    """
    backbone = get_backbone(model)
    batch_norms = [x for x in flatten_layers(backbone) if isinstance(x, keras.layers.BatchNormalization)]
    if not batch_norms:
        return
    before_backbone = keras.Model(model.input, nested_io(model, backbone)[0])
    scaled = before_backbone(images.astype("float32"))
    before = [(layer.trainable, layer.momentum) for layer in batch_norms]
    backbone.trainable = True
    for layer in batch_norms:
        layer.momentum = 0.0
    backbone(scaled, training=True)
    backbone.trainable = False
    for layer, (trainable, momentum) in zip(batch_norms, before, strict=True):
        layer.trainable, layer.momentum = trainable, momentum
