"""Make a backbone from random weights usable: give its BatchNormalization layers the statistics of real pictures."""

import keras
import numpy as np

from tlkeras.models.freezing import get_backbone


def calibrate_batch_norm(model: keras.Model, images: np.ndarray) -> None:
    """Set each BatchNormalization layer's moving statistics to those of one batch.

    Fresh statistics (mean 0, variance 1) in inference mode let the signal of a deep random network die out, layer by
    layer, until its features are all alike. One pass in training mode with momentum 0 is enough: each layer then
    normalises what really reaches it. Pretrained weights bring their own statistics and must not be calibrated.

    Args:
        model: a model from `build_classifier(weights="none")`.
        images: `(B, S, S, 3)` pixels, 0–255, of training pictures; 64 or more are plenty.
    """
    backbone = get_backbone(model)
    batch_norms = [x for x in backbone._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    if not batch_norms:
        return
    before_backbone = keras.Model(model.input, backbone_input(model, backbone))
    scaled = before_backbone(images.astype("float32"))
    was_trainable = [layer.trainable for layer in batch_norms]
    momentum = [layer.momentum for layer in batch_norms]
    backbone.trainable = True
    for layer in batch_norms:
        layer.momentum = 0.0
    backbone(scaled, training=True)
    backbone.trainable = False
    for layer, trainable, before in zip(batch_norms, was_trainable, momentum, strict=True):
        layer.trainable, layer.momentum = trainable, before


def backbone_input(model: keras.Model, backbone: keras.Model) -> keras.KerasTensor:
    """The tensor that a model hands to its nested backbone: scaled pixels, `(None, S, S, 3)`.

    Raises:
        ValueError: the backbone is not part of the model.
    """
    for operation in model.operations:
        if operation is backbone:
            return operation._inbound_nodes[-1].input_tensors[0]
    raise ValueError(f"{backbone.name} is not a layer of {model.name}")
