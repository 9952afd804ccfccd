"""The Grad-CAM map of one image over it, as a PNG."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from tlkeras.errors import UserError
from tlkeras.run.load_run import Run, load_model
from tlkeras.runtime import load_tensorflow


class Explainer:
    """Explains a run's model, which is loaded for the first map; for one thread."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._maps: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None

    def png(self, image: np.ndarray, index: int) -> bytes:
        """Return a decoded image under the map of a class; refuse where the model has no gradients or no map."""
        if not (path := self._run.path / "model.keras").is_file():
            raise UserError(
                f"{self._run.path.name} is an exported artifact, which only predicts. Serve the run's folder for maps."
            )
        load_tensorflow()
        from tlkeras.evaluation.explain import check_arguments, make_class_maps, overlay

        images, classes = image[None], np.array([index])
        if self._maps is None:
            model = load_model(path)
            check_arguments(model, images, classes, "grad-cam")
            self._maps = make_class_maps(model, "grad-cam")
        over = overlay(images, self._maps(images, classes))[0]
        written = io.BytesIO()
        Image.fromarray(over).save(written, "png", compress_level=1)
        return written.getvalue()
