"""TensorFlow Hub modules as backbones: `hub:HANDLE`, a URL, a folder or an archive, without loading TensorFlow."""

from typing import TYPE_CHECKING

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.extras.hub.spec import MODEL_NAME, find_spec, module_spec

if TYPE_CHECKING:
    import keras

__all__ = ["LAYERS", "check_installed", "find_spec", "spec_of"]

LAYERS = {"HubModule": "tlkeras.extras.hub.layer"}


def check_installed() -> None:
    """Require nothing: only downloads need a package, which `tlkeras.extras.hub.handles.download` asks for."""


def spec_of(backbone: "keras.Model") -> BackboneSpec:
    """Return the spec that the nested backbones of all modules share."""
    return module_spec(MODEL_NAME)
