"""The Grad-CAM map of one image over it, as a PNG."""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tlkeras.errors import UserError
from tlkeras.run.load_run import Run, load_model
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    import keras


class Explainer:
    """Explains a run's model, which is loaded for the first map; for one thread."""

    def __init__(self, run: Run) -> None:
        self._run, self._path = run, run.path / "model.keras"
        self._loaded: tuple[keras.Model, Callable[[np.ndarray, np.ndarray], np.ndarray]] | None = None

    @property
    def has_model(self) -> bool:
        """Return whether there is a model that can be explained: an artifact has none."""
        return self._path.is_file()

    def png(self, image: np.ndarray, index: int | None) -> bytes:
        """Return a decoded image under the map of a class, or of the most likely one; refuse where there is no map.

        The image does not go through the batcher, so it counts once in the log, where it was predicted.
        """
        if not self.has_model:
            raise UserError(
                f"{self._run.path.name} is an exported artifact, which only predicts. Serve the run's folder for maps."
            )
        load_tensorflow()
        from tlkeras.evaluation.explain import check_arguments, make_class_maps, overlay

        images = image[None]
        if self._loaded is None:
            model = load_model(self._path)
            check_arguments(model, images, np.array([index or 0]), "grad-cam")
            self._loaded = model, make_class_maps(model, "grad-cam")
        model, maps = self._loaded
        likely = model.predict_on_batch(images).argmax(axis=1) if index is None else np.array([index])
        over = overlay(images, maps(images, likely))[0]
        written = io.BytesIO()
        Image.fromarray(over).save(written, "png", compress_level=1)
        return written.getvalue()
