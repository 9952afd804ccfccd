"""Augmentation of training images, after the cache, on uint8 pixels.

Pillow does the resampling: it reads with antialiasing and releases Python's lock. All randomness comes from the
generator that is passed in, drawn for a whole batch before any thread starts, so the same generator gives the same
pixels on any number of cores.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

import numpy as np
from PIL import Image

from tlkeras.config.train import AugmentOptions

RANDOM_NUMBERS = 10  # that `augment_image` uses
GRAY = np.array([0.299, 0.587, 0.114])  # weights of red, green and blue in brightness (ITU-R BT.601)


def augment(
    images: np.ndarray, targets: np.ndarray, options: AugmentOptions, rng: np.random.Generator, threads: Executor,
    own: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Augment one batch: uint8 images `(B, S, S, 3)`, RGB, and float32 targets `(B, K)`, which are mixed along.

    A function of one's own takes the place of `augment_image`.
    """
    random = rng.uniform(size=(len(images), RANDOM_NUMBERS))
    changed = (own(images) if own else
               np.stack(list(threads.map(augment_image, images, random, [options] * len(images)))))  # fmt: skip
    mixes = [(mix, alpha) for mix, alpha in ((mixup, options.mixup), (cutmix, options.cutmix)) if alpha > 0]
    if not mixes:
        return changed, targets
    mix, alpha = mixes[rng.integers(len(mixes))]
    return mix(changed, targets, alpha, rng)


def augment_image(pixels: np.ndarray, random: np.ndarray, options: AugmentOptions) -> np.ndarray:
    """Flip, rotate, crop and resize, and color-jitter one image, in this order.

    An augmentation of your own goes here, from uint8 `(S, S, 3)`, RGB 0–255, to the same. `random` holds numbers from 0
    to 1, all of them in use: raise `RANDOM_NUMBERS` and take the new ones, `float(random[10])` for Pillow; that changes
    the results of a seed. Keep the code in this file, as the feature cache looks at no other. If an option switches it
    on, name the option in `AugmentOptions.changes_images`, which else must be true: where it is false, features are
    cached without augmentation.
    """
    image = Image.fromarray(pixels)
    if options.flip != "none" and random[0] < 0.5:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if options.flip == "both" and random[1] < 0.5:
        image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    if options.rotation > 0:
        image = rotate(image, (2 * random[2] - 1) * options.rotation)
    if options.min_crop_area < 1:
        image = random_resized_crop(image, options.min_crop_area, random[3:7])
    if options.color_jitter > 0:
        image = color_jitter(image, 1 + options.color_jitter * (2 * random[7:10] - 1))
    return np.asarray(image)


def random_resized_crop(image: Image.Image, min_area: float, random: Sequence[float] | np.ndarray) -> Image.Image:
    """Crop a box of `min_area` to all of the area, 3:4 to 4:3, and resize it to the image's size.

    This is the crop of Inception's training (Szegedy et al. 2015, arXiv:1409.4842), kept inside the image.
    """
    size = image.width
    area, ratio = min_area + (1 - min_area) * random[0], math.exp((2 * random[1] - 1) * math.log(4 / 3))
    width, height = min(math.sqrt(area * ratio), 1.0) * size, min(math.sqrt(area / ratio), 1.0) * size
    left, top = random[2] * (size - width), random[3] * (size - height)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + width, top + height))


def rotate(image: Image.Image, degrees: float) -> Image.Image:
    """Rotate a square image about its center, counter-clockwise; the corners show the mirrored image, not black."""
    size, margin = image.width, math.ceil(image.width * (math.sqrt(2) - 1) / 2)
    wide = Image.fromarray(np.pad(np.asarray(image), ((margin, margin), (margin, margin), (0, 0)), mode="reflect"))
    rotated = wide.rotate(degrees, Image.Resampling.BILINEAR)
    return rotated.crop((margin, margin, margin + size, margin + size))


def color_jitter(image: Image.Image, factors: Sequence[float] | np.ndarray) -> Image.Image:
    """Multiply brightness, contrast and saturation by three factors, as one linear map of the colors.

    Krizhevsky et al. 2012; Howard 2013, arXiv:1312.5402.
    """
    brightness, contrast, saturation = factors
    mean = float(np.asarray(image.resize((1, 1), Image.Resampling.BOX)).reshape(3) @ GRAY)
    colors = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * GRAY[None, :])
    offset = np.full((3, 1), brightness * (1 - contrast) * mean)
    return image.convert("RGB", tuple(np.hstack([colors, offset]).ravel()))


def mixup(
    images: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Blend each image with another of the batch (Zhang et al. 2018, arXiv:1710.09412), by Beta(alpha, alpha)."""
    fraction = rng.beta(alpha, alpha, size=len(images)).astype("float32")
    pixels = fraction[:, None, None, None]
    blended = np.rint(pixels * images + (1 - pixels) * images[::-1]).astype("uint8")
    return blended, fraction[:, None] * targets + (1 - fraction[:, None]) * targets[::-1]


def cutmix(
    images: np.ndarray, targets: np.ndarray, alpha: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Paste a rectangle of another image (Yun et al. 2019, arXiv:1905.04899); targets mix by the pixels shown."""
    count, size = images.shape[:2]
    half = np.sqrt(1 - rng.beta(alpha, alpha, size=count)) * size / 2
    centers = rng.uniform(0, size, size=(count, 2))
    pasted, mixed = images.copy(), targets.copy()
    for index in range(count):
        low = np.maximum(np.rint(centers[index] - half[index]), 0).astype(int)
        high = np.minimum(np.rint(centers[index] + half[index]), size).astype(int)
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        pasted[index][box] = images[count - 1 - index][box]
        other = (high - low).prod() / size**2
        mixed[index] = (1 - other) * targets[index] + other * targets[count - 1 - index]
    return pasted, mixed
