"""Maps of what a run's model looked at in images, and PNG files of them."""

import io
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.errors import UserError
from tlkeras.io.atomic import write_atomic
from tlkeras.modalities.base import DecodeError
from tlkeras.progress import progress
from tlkeras.run.load_run import Run, load_model, load_trained_run
from tlkeras.run.predict import list_inputs
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    from tlkeras.evaluation.explain import Method

log = logging.getLogger("tlkeras")
CHUNK = 32  # images in memory at once


@dataclass(frozen=True)
class Explanation:
    """What speaks for a class in one image."""

    path: str  # the file; or "image 1" for the first one in memory
    label: str  # the class that is explained; "value" for regression
    score: float  # its probability; for regression the number
    image: np.ndarray  # uint8 (S, S, 3), the square that the model sees
    map: np.ndarray  # float32 (S, S), 0 to 1
    error: str | None = None  # why the file could not be read; then image and map are empty


def explain(
    run_path: str | Path, inputs: Any, method: "Method" = "grad-cam", class_name: str | None = None
) -> list[Explanation]:
    """Explain what the model of a run looked at.

    Args:
        run_path: folder that `scripts/train.py` wrote, of images.
        inputs: files, folders, patterns or images in memory, as for `predict`.
        method: "grad-cam", "grad-cam++" or "occlusion"; see `class_maps` for the papers.
        class_name: the class to explain; of each image the most likely one when None.

    Returns:
        One for each image, in order.

    Raises:
        UserError: for a folder that is no run of images, paths without images, an unknown class or method.

    Example:
        >>> explanation = tlkeras.explain("saved_models/photos", "ant.jpg")[0]
        >>> tlkeras.overlay(explanation.image[None], explanation.map[None])
    """
    return list(explain_each(load_trained_run(run_path), inputs, method, class_name))


def explain_each(run: Run, inputs: Any, method: "Method", class_name: str | None) -> Iterator[Explanation]:
    """Yield the explanations one after the other, so that not all of them are in memory."""
    if len(run.modality.shape) != 3:
        raise UserError(f"{run.path} is a run of {run.modality.plural}; only runs of images can be explained.")
    if class_name is not None and class_name not in run.classes:
        known = f"It has {', '.join(run.classes[:20])}" if run.classes else "It predicts a number: leave the class out"
        raise UserError(f"{run.path} has no class {class_name}. {known}.")
    sources = list_inputs(inputs, type(run.modality))
    if not sources:
        raise UserError("Nothing was given for PATH. See explain.py --help.")
    load_tensorflow()
    from tlkeras.evaluation.explain import SINGLE_CELL, has_single_cell

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    if method != "occlusion" and has_single_cell(model):
        log.warning("Note: %s", SINGLE_CELL)
    with progress(len(sources), f"Explaining {run.modality.plural}") as bar:
        for start in range(0, len(sources), CHUNK):
            chunk = sources[start : start + CHUNK]
            yield from explain_chunk(model, run, chunk, method, class_name)
            bar.update(len(chunk))


def explain_chunk(model: Any, run: Run, chunk: list, method: "Method", class_name: str | None) -> list[Explanation]:
    """Explain images in their order, the unreadable ones included."""
    from tlkeras.evaluation.explain import class_maps

    decoded: list[np.ndarray | str] = []
    for source in chunk:
        try:
            decoded.append(run.modality.read(source.content))
        except DecodeError as error:
            decoded.append(str(error))
    readable = [image for image in decoded if not isinstance(image, str)]
    images = np.array(readable, "uint8").reshape(-1, *run.modality.shape)
    outputs = model.predict(images, verbose=0) if readable else np.zeros((0, 1))
    chosen = np.full(len(images), run.classes.index(class_name)) if class_name else outputs.argmax(axis=1)
    rows = iter(zip(images, outputs, chosen, class_maps(model, images, chosen, method), strict=True))
    found = []
    for source, image in zip(chunk, decoded, strict=True):
        if isinstance(image, str):
            found.append(Explanation(source.name, "", 0.0, np.zeros(0), np.zeros(0), image))
            continue
        pixels, output, index, heat = next(rows)
        label = run.classes[index] if run.classes else "value"
        found.append(Explanation(source.name, label, float(output[index]), pixels, heat))
    return found


def check_maps(run: Run, explained: Sequence[Explanation], method: "Method") -> str:
    """Return in two lines whether the maps of images can be trusted, by `sanity_check` and `deletion_scores`."""
    from tlkeras.evaluation.explain import deletion_scores, random_maps, sanity_check

    model = load_model(run.path / "model.keras", outputs=len(run.classes) or 1)
    images, maps = (np.stack([getattr(one, name) for one in explained]) for name in ("image", "map"))
    classes = np.array([run.classes.index(one.label) if run.classes else 0 for one in explained])
    same = sanity_check(model, images, classes, method)
    count = run.modality.count_noun(len(explained))
    lines = [f"Correlation with maps of shuffled weights: {same:.2f}; near 0 is good ({count})"]
    if run.classes:
        score, chance = (deletion_scores(model, images, classes, given).mean() for given in (maps, random_maps(images)))
        lines.append(f"Deletion score: {score:.3f}, random maps {chance:.3f}; lower is better")
    return "\n".join(lines)


def write_png(explanation: Explanation, path: Path) -> None:
    """Write a PNG: the image as the model sees it, and the map over it, under the class and its probability."""
    from matplotlib.figure import Figure

    from tlkeras.evaluation.explain import overlay

    figure = Figure(figsize=(6, 3.3), layout="constrained")
    over = overlay(explanation.image[None], explanation.map[None])[0]
    for panel, pixels in zip(figure.subplots(1, 2), (explanation.image, over), strict=True):
        panel.imshow(pixels)
        panel.axis("off")
    figure.suptitle(f"{explanation.label} {explanation.score:.3f}", parse_math=False)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=100)
    write_atomic(path, written.getvalue())
