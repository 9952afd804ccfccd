"""Random changes of training pictures, after the cache, on uint8 pixels.

Pillow does the sampling: it reads with antialiasing and lets go of Python's lock. All randomness comes from the
generator that is passed in, drawn for a whole batch before any thread starts, so the same generator gives the same
pixels on any number of cores.
"""

import math
from collections.abc import Sequence
from concurrent.futures import Executor

import numpy as np
from PIL import Image

from tlkeras.config import AugmentOptions

# Weights of red, green and blue in what the eye takes for brightness (ITU-R BT.601).
GRAY = np.array([0.299, 0.587, 0.114])


def augment(
    images: np.ndarray, targets: np.ndarray, options: AugmentOptions, rng: np.random.Generator, threads: Executor
) -> tuple[np.ndarray, np.ndarray]:
    """Augment one batch.

    Args:
        images: uint8 `(B, S, S, 3)`, RGB.
        targets: float32 `(B, K)`; MixUp and CutMix mix them along with the pictures.
        options: what is done, and how much.
        rng: where all randomness comes from.
        threads: what runs the pictures of a batch side by side.

    Returns:
        uint8 pictures and float32 targets of the same shapes.
    """
    draws = rng.uniform(size=(len(images), 10))
    changed = np.stack(list(threads.map(augment_image, images, draws, [options] * len(images))))
    mixes = [mix for mix, alpha in ((mixup, options.mixup), (cutmix, options.cutmix)) if alpha > 0]
    if mixes:
        mix = mixes[rng.integers(len(mixes))]
        return mix(changed, targets, options.mixup if mix is mixup else options.cutmix, rng)
    return changed, targets


def augment_image(pixels: np.ndarray, draw: np.ndarray, options: AugmentOptions) -> np.ndarray:
    """Flip, rotate, crop and resize, and recolour one picture, in this order.

    An augmentation of your own goes here. It runs where `AugmentOptions.changes_pictures` says so.

    Args:
        pixels: uint8 `(S, S, 3)`, RGB 0–255.
        draw: ten numbers from 0 to 1, from which all chance comes.
        options: what is done, and how much.

    Returns:
        uint8 of the same shape.
    """
    picture = Image.fromarray(pixels)
    if options.flip != "none" and draw[0] < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if options.flip == "both" and draw[1] < 0.5:
        picture = picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if options.rotation > 0:
        picture = rotate(picture, (2 * draw[2] - 1) * options.rotation)
    if options.min_crop_area < 1:
        picture = crop(picture, options.min_crop_area, draw[3:7])
    if options.color_jitter > 0:
        picture = apply_color_jitter(picture, 1 + options.color_jitter * (2 * draw[7:10] - 1))
    return np.asarray(picture)


def crop(picture: Image.Image, least_area: float, draw: Sequence[float]) -> Image.Image:
    """Cut out a box of `least_area` to all of the area, 3:4 to 4:3, and bring it to the picture's size.

    This is the crop of Inception's training (Szegedy et al. 2015, arXiv:1409.4842), kept inside the picture.
    """
    size = picture.width
    area, ratio = least_area + (1 - least_area) * draw[0], math.exp((2 * draw[1] - 1) * math.log(4 / 3))
    width, height = min(math.sqrt(area * ratio), 1.0) * size, min(math.sqrt(area / ratio), 1.0) * size
    left, top = draw[2] * (size - width), draw[3] * (size - height)
    return picture.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))


def rotate(picture: Image.Image, degrees: float) -> Image.Image:
    """Rotate about the centre; the corners that this uncovers show the mirrored picture, not black.

    Args:
        picture: square, RGB.
        degrees: counter-clockwise.

    Returns:
        A picture of the same size.
    """
    size, margin = picture.width, math.ceil(picture.width * (math.sqrt(2) - 1) / 2)
    wide = Image.fromarray(np.pad(np.asarray(picture), ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    turned = wide.rotate(degrees, Image.Resampling.BILINEAR)
    return turned.crop((margin, margin, margin + size, margin + size))


def apply_color_jitter(picture: Image.Image, factors: Sequence[float]) -> Image.Image:
    """Multiply brightness, contrast and saturation, as one linear map of the colours (Krizhevsky et al. 2012; Howard
    2013, arXiv:1312.5402).

    Args:
        picture: RGB.
        factors: of brightness, contrast and saturation; 1 changes nothing.

    Returns:
        A picture of the same size.
    """
    brightness, contrast, saturation = factors
    mean = float(np.asarray(picture.resize((1, 1), Image.Resampling.BOX)).reshape(3) @ GRAY)
    colours = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * GRAY[None, :])
    offset = np.full((3, 1), brightness * (1 - contrast) * mean)
    return picture.convert("RGB", tuple(np.hstack([colours, offset]).ravel()))


def mixup(
    images: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blend each picture with another of the batch (Zhang et al. 2018, arXiv:1710.09412).

    Args:
        images: uint8 `(B, S, S, 3)`, 0–255.
        targets: float32 `(B, K)`.
        alpha: both parameters of the Beta distribution that the shares are drawn from; greater than 0.
        rng: where the shares come from.

    Returns:
        Pictures and targets of the same shapes and dtypes.
    """
    share = rng.beta(alpha, alpha, size=len(images)).astype("float32")
    pixels = share[:, None, None, None]
    blended = np.rint(pixels * images + (1 - pixels) * images[::-1]).astype("uint8")
    return blended, share[:, None] * targets + (1 - share[:, None]) * targets[::-1]


def cutmix(
    images: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a rectangle of another picture (Yun et al. 2019, arXiv:1905.04899); targets mix by the pixels shown.

    Args:
        images: uint8 `(B, S, S, 3)`, 0–255.
        targets: float32 `(B, K)`.
        alpha: both parameters of the Beta distribution that the areas are drawn from; greater than 0.
        rng: where areas and places come from.

    Returns:
        Pictures and targets of the same shapes and dtypes.
    """
    count, size = images.shape[:2]
    half = np.sqrt(1 - rng.beta(alpha, alpha, size=count)) * size / 2
    centres = rng.uniform(0, size, size=(count, 2))
    pasted, mixed = images.copy(), targets.copy()
    for index in range(count):
        low = np.maximum(np.rint(centres[index] - half[index]), 0).astype(int)
        high = np.minimum(np.rint(centres[index] + half[index]), size).astype(int)
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        pasted[index][box] = images[count - 1 - index][box]
        other = (high - low).prod() / size**2
        mixed[index] = (1 - other) * targets[index] + other * targets[count - 1 - index]
    return pasted, mixed
