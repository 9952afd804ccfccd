"""Text encoders of KerasHub as backbones: `kerashub:PRESET`, a folder, a name or a size, without loading TensorFlow."""

from typing import TYPE_CHECKING

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.extras.kerashub.spec import LAYER, MODEL_NAME, check_installed, encoder_spec, find_spec

if TYPE_CHECKING:
    import keras

__all__ = ["LAYERS", "check_installed", "find_spec", "spec_of"]

LAYERS = {"TextTokens": "tlkeras.extras.kerashub.tokens"}


def spec_of(backbone: "keras.Model") -> BackboneSpec:
    """Return a spec whose stages are read off the layers of a nested backbone."""
    return encoder_spec(MODEL_NAME, sum(layer.name.startswith(LAYER) for layer in backbone.layers))
