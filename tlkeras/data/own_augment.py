"""An augmentation of one's own, in place of the built-in changes of single images."""

from typing import Any

import keras
import numpy as np

from tlkeras.config.extensions import name_of
from tlkeras.errors import UserError, first_sentence


class OwnAugmentation:
    """A function of uint8 images `(B, S, S, 3)`, RGB, or Keras layers, as a function of uint8 images.

    Its randomness starts anew with each epoch: that of Python, NumPy, TensorFlow and Keras' layers is seeded.
    """

    def __init__(self, given: Any) -> None:
        layers = list(given) if isinstance(given, list | tuple) else [given]
        self._name, self._function = name_of(given), given
        self._layers = keras.Sequential(layers) if all(isinstance(x, keras.layers.Layer) for x in layers) else None
        if self._layers is None and not callable(given):
            raise UserError(f"augment was {given!r}; give a function of images, a Keras layer, or a list of layers.")

    def start_epoch(self, seed: int, epoch: int) -> None:
        """Seed all that it may draw from."""
        number = int(np.random.default_rng([seed, epoch]).integers(2**31))
        keras.utils.set_random_seed(number)
        for variable in self._layers.variables if self._layers else []:
            if variable.name == "seed_generator_state":
                variable.assign([number, 0])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Return augmented uint8 images `(B, S, S, 3)`."""
        if self._layers is None:
            return self._function(images)
        changed = np.asarray(self._layers(images.astype("float32"), training=True))
        return np.rint(np.clip(changed, 0, 255)).astype("uint8")

    def check(self, images: np.ndarray) -> None:
        """Refuse an augmentation that fails on some images, or gives something else."""
        try:
            changed = np.asarray(self(images.copy()))
        except Exception as error:  # of any kind: it is the user's code
            reason = f"{type(error).__name__}: {first_sentence(error)}"
            raise UserError(f"augment={self._name} fails on uint8 images {images.shape} ({reason}).") from error
        if (changed.dtype, changed.shape) != (images.dtype, images.shape):
            raise UserError(
                f"augment={self._name} gave {changed.dtype} {changed.shape} for uint8 {images.shape}; it must give "
                "images of the same dtype and shape, RGB 0–255."
            )
        if changed.max() <= 1 < images.max():
            raise UserError(f"augment={self._name} gave black images: pixels of 0 and 1. It must give RGB 0–255.")
