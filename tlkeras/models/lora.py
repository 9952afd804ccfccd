"""LoRA (Hu et al. 2021, arXiv:2106.09685): frozen kernels, and a change of low rank beside each that is trained.

Keras has it for Dense, EinsumDense and convolutions, those with groups included; depthwise and separable convolutions
go without and stay frozen. What is trained is added to the kernels at the end, so the model is then a plain one again.
"""

import keras
from keras import ops

from tlkeras.errors import UserError
from tlkeras.models.introspect import get_backbone
from tlkeras.models.keras_private import flatten_layers


def lora_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the trainable layers of the backbone that Keras can give a change of low rank."""
    layers = [layer for layer in flatten_layers(get_backbone(model)) if layer.trainable_weights]
    return [layer for layer in layers if hasattr(layer, "enable_lora") and hasattr(layer, "kernel")]


def add_lora(model: keras.Model, rank: int, seed: int) -> None:
    """Freeze what is trainable in the backbone, and give each of its kernels a change of this rank, zero at first."""
    backbone, layers = get_backbone(model), lora_layers(model)
    if not layers:
        raise UserError(
            f"--lora-rank was {rank}; {backbone.name} has no dense or convolutional layers of Keras among what phase 2 "
            "unfreezes. Leave it out, or give another --unfreeze."
        )
    for weight in backbone.trainable_weights:
        weight.trainable = False
    for index, layer in enumerate(layers):
        layer.enable_lora(rank, a_initializer=keras.initializers.HeUniform(seed + index))


def merge_lora(model: keras.Model) -> None:
    """Add the changes to the kernels and remove them; then the backbone is frozen. Without changes nothing happens."""
    backbone = get_backbone(model)
    for layer in [layer for layer in flatten_layers(backbone) if getattr(layer, "lora_enabled", False)]:
        change = ops.matmul(layer.lora_kernel_a, layer.lora_kernel_b) * (layer.lora_alpha / layer.lora_rank)
        layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
        layer.kernel.assign_add(change)
        del layer.lora_kernel_a, layer.lora_kernel_b
        backbone.trainable = False  # or Keras would not unfreeze again the single weights that `add_lora` froze
