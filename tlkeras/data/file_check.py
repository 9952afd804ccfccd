"""Look at every image file as it is on the disk, and find what may be wrong with it."""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from tlkeras.data.example import Example, content_of
from tlkeras.data.loading import available_cores
from tlkeras.data.quality import MIN_CONTRAST, Finding
from tlkeras.modalities.base import SIDE, DecodeError, Modality, read_bytes
from tlkeras.modalities.image import gray_thumbnail, opened, to_rgb
from tlkeras.progress import progress

SEEN = 128  # pixels of the shorter side that are looked at, as a minimum
MIN_SHARPNESS = 20.0  # variance of the Laplacian; photographs have hundreds
MAX_ASPECT = 3.0  # sides of an image
MAX_SIZE_RATIO = 4.0  # shorter side against the median
RARE = 0.2  # fraction up to which gray images among color ones are mentioned
SUFFIXES = {"JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg"), "TIFF": (".tif", ".tiff")}
ORIENTATION = 0x0112  # EXIF tag
BATCH = 64  # files that a thread takes at a time


@dataclass(frozen=True)
class Look:
    """What one file is like; where it cannot be read, the reason alone."""

    reason: str = ""
    digest: str = ""  # of its content
    thumbnail: np.ndarray | None = None  # gray uint8 (SIDE, SIDE)
    format: str = ""
    size: tuple[int, int] = (0, 0)
    rotated: bool = False
    gray: bool = False
    sharpness: float = 0.0  # variance of the Laplacian of the gray image
    contrast: float = 0.0  # standard deviation of the gray image


def look_at_all(examples: Sequence[Example]) -> list[Look]:
    """Decode every image at a small size, with a thread per core, and say what it is like."""
    batches = [examples[start : start + BATCH] for start in range(0, len(examples), BATCH)]
    looks: list[Look] = []
    with progress(len(examples), "Looking at images", "images") as bar, ThreadPoolExecutor(available_cores()) as pool:
        for found in pool.map(lambda batch: [look_at(example) for example in batch], batches):
            looks += found
            bar.update(len(found))
    return looks


def look_at(example: Example) -> Look:
    """Decode one image and say what it is like; a JPEG is decoded to the end, though at a fraction of its size."""
    try:
        content = content_of(example)
        content = read_bytes(content) if isinstance(content, Path) else content
        if isinstance(content, np.ndarray):
            buffer = BytesIO()
            Image.fromarray(content).save(buffer, "BMP")
            content = buffer.getvalue()
        with opened(content) as image:
            file_format, size = image.format or "", image.size
            rotated = image.getexif().get(ORIENTATION, 1) not in (0, 1)
            image.draft(None, (SEEN, SEEN))
            rgb = to_rgb(image)
    except DecodeError as error:
        return Look(str(error))
    rgb.thumbnail((2 * SEEN, 2 * SEEN))
    gray = np.asarray(rgb.convert("L"), np.float32)
    edges = 4 * gray[1:-1, 1:-1] - gray[:-2, 1:-1] - gray[2:, 1:-1] - gray[1:-1, :-2] - gray[1:-1, 2:]
    colors = np.asarray(rgb.resize((16, 16)), np.int16)
    return Look(
        digest=hashlib.blake2b(content, digest_size=16).hexdigest(),
        thumbnail=gray_thumbnail(rgb, SIDE),
        format=file_format,
        size=size,
        rotated=rotated,
        gray=int(np.ptp(colors, axis=-1).max()) <= 8,
        sharpness=float(edges.var()) if edges.size else 0.0,
        contrast=float(gray.std()),
    )


def find_file_problems(examples: Sequence[Example], looks: Sequence[Look], modality: type[Modality]) -> list[Finding]:
    """Return findings on files that can be read: extensions, sizes, orientation, blank, blurred and gray images."""
    sides = np.array([min(look.size) for look in looks])
    median = float(np.median(sides)) if len(sides) else 0.0
    colored = sum(not look.gray for look in looks)
    tests: list[tuple[str, str, Callable[[Example, Look], bool]]] = [
        ("wrong_extension", "not of the format that the extension names", has_wrong_suffix),
        ("rotated", "turned by an EXIF tag, which others ignore", lambda _, look: look.rotated),
        ("odd_sizes", f"far from square, or from the usual size (shorter side: {median:.0f} px)",
         lambda _, look: not 1 / MAX_SIZE_RATIO <= min(look.size) / median <= MAX_SIZE_RATIO
         or max(look.size) > MAX_ASPECT * min(look.size)),
        ("blank", "nearly of one color", lambda _, look: look.contrast < MIN_CONTRAST),
        ("blurred", "blurred", lambda _, look: look.contrast >= MIN_CONTRAST and look.sharpness < MIN_SHARPNESS),
        ("gray", "gray among images in color", lambda _, look: look.gray and colored > (1 - RARE) * len(looks)),
    ]  # fmt: skip
    findings = []
    for kind, text, matches in tests:
        paths = [example.name for example, look in zip(examples, looks, strict=True) if matches(example, look)]
        if paths:
            are = "is" if len(paths) == 1 else "are"
            findings.append(
                Finding(kind, "note", paths, f"{modality.count_noun(len(paths))} {are} {text}, such as {paths[0]}.")
            )
    return findings


def has_wrong_suffix(example: Example, look: Look) -> bool:
    """Return whether a file is of another format than its extension says."""
    if example.path is None or example.span is not None:
        return False
    return example.path.suffix.lower() not in SUFFIXES.get(look.format, (f".{look.format.lower()}",))
