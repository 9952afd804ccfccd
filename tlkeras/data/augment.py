"""Random changes of a training batch, on the CPU inside `tf.data`, after the cache.

Flip, crop-and-resize and rotation are one affine transform, so a picture is sampled once. All randomness comes from
the seed that is passed in: the same seed gives the same pixels, on any number of threads.
"""

import math

import tensorflow as tf

from tlkeras.config import AugmentOptions


def augment(
    images: tf.Tensor, targets: tf.Tensor, options: AugmentOptions, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augment one batch.

    Args:
        images: `(B, S, S, 3)`, RGB 0–255, uint8 or float32.
        targets: float32 `(B, K)`; mixed along with the pictures by MixUp and CutMix.
        options: what is done, and how much.
        seed: int64 `(2,)`.

    Returns:
        float32 pictures 0–255 and targets of the same shapes.
    """
    seeds = tf.unstack(tf.random.split(seed, 4), num=4)
    images = tf.cast(images, tf.float32)
    images = move(images, options, seeds[0])
    images = recolour(images, options.colour, seeds[1])
    mix_both = options.mixup > 0 and options.cutmix > 0
    if mix_both:
        use_mixup = tf.random.stateless_uniform([], seeds[3]) < 0.5
        return tf.cond(
            use_mixup,
            lambda: mixup(images, targets, options.mixup, seeds[2]),
            lambda: cutmix(images, targets, options.cutmix, seeds[2]),
        )
    if options.mixup > 0:
        return mixup(images, targets, options.mixup, seeds[2])
    if options.cutmix > 0:
        return cutmix(images, targets, options.cutmix, seeds[2])
    return images, targets


def move(images: tf.Tensor, options: AugmentOptions, seed: tf.Tensor) -> tf.Tensor:
    """Flip, crop-and-resize and rotation by one bilinear sampling; what lies outside is mirrored in."""
    if options.flip == "none" and options.crop == 1 and options.rotation == 0:
        return images
    count, size = tf.shape(images)[0], images.shape[1]
    draw = tf.random.stateless_uniform([7, count], seed)
    mirror_x = tf.where((draw[0] < 0.5) & (options.flip != "none"), -1.0, 1.0)
    mirror_y = tf.where((draw[1] < 0.5) & (options.flip == "both"), -1.0, 1.0)
    angle = (2 * draw[2] - 1) * math.radians(options.rotation)
    # The crop keeps a share of the area between `crop` and 1, at an aspect ratio between 3:4 and 4:3 (Inception's
    # crop, Szegedy et al. 2015, arXiv:1409.4842), clipped to the picture.
    area = options.crop + (1 - options.crop) * draw[3]
    ratio = tf.exp((2 * draw[4] - 1) * math.log(4 / 3)) if options.crop < 1 else tf.ones_like(area)
    width = tf.minimum(tf.sqrt(area * ratio), 1.0)
    height = tf.minimum(tf.sqrt(area / ratio), 1.0)
    centre = (size - 1) / 2
    shift_x = (2 * draw[5] - 1) * (1 - width) * centre
    shift_y = (2 * draw[6] - 1) * (1 - height) * centre
    # Output pixel (x, y), measured from the centre, comes from input pixel A (x, y) + centre + shift.
    a, b = width * mirror_x * tf.cos(angle), -height * mirror_y * tf.sin(angle)
    c, d = width * mirror_x * tf.sin(angle), height * mirror_y * tf.cos(angle)
    offset_x = centre + shift_x - (a + b) * centre
    offset_y = centre + shift_y - (c + d) * centre
    zeros = tf.zeros_like(a)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a, b, offset_x, c, d, offset_y, zeros, zeros], axis=1),
        output_shape=[size, size],
        interpolation="BILINEAR",
        fill_mode="REFLECT",
        fill_value=0.0,
    )


def recolour(images: tf.Tensor, amount: float, seed: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast and saturation, each by a factor from 1 - amount to 1 + amount."""
    if amount == 0:
        return images
    factors = 1 + amount * (2 * tf.random.stateless_uniform([3, tf.shape(images)[0], 1, 1, 1], seed) - 1)
    brightness, contrast, saturation = factors[0], factors[1], factors[2]
    gray = tf.reduce_sum(images * tf.constant([0.299, 0.587, 0.114]), axis=-1, keepdims=True)
    mean = tf.reduce_mean(gray, axis=[1, 2], keepdims=True)
    images = gray + (images - gray) * saturation
    images = (mean + (images - mean) * contrast) * brightness
    return tf.clip_by_value(images, 0.0, 255.0)


def mixup(images: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each picture with another of the batch (Zhang et al. 2018, arXiv:1710.09412)."""
    share = beta(alpha, tf.shape(images)[:1], seed)
    pixels = share[:, None, None, None]
    images = pixels * images + (1 - pixels) * images[::-1]
    return images, share[:, None] * targets + (1 - share[:, None]) * targets[::-1]


def cutmix(images: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a rectangle of another picture (Yun et al. 2019, arXiv:1905.04899); targets mix by the pixels shown."""
    seeds = tf.unstack(tf.random.split(seed, 2), num=2)
    count, size = tf.shape(images)[0], images.shape[1]
    side = tf.sqrt(1 - beta(alpha, [count], seeds[0])) * size
    centre = tf.random.stateless_uniform([2, count], seeds[1]) * size
    place = tf.range(size, dtype=tf.float32) + 0.5
    rows = tf.abs(place[None, :] - centre[0][:, None]) < side[:, None] / 2
    columns = tf.abs(place[None, :] - centre[1][:, None]) < side[:, None] / 2
    pasted = tf.cast(rows[:, :, None] & columns[:, None, :], tf.float32)
    share = 1 - tf.reduce_mean(pasted, axis=[1, 2])[:, None]
    pasted = pasted[..., None]
    images = images * (1 - pasted) + images[::-1] * pasted
    return images, share * targets + (1 - share) * targets[::-1]


def beta(alpha: float, shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Draws from Beta(alpha, alpha), as the ratio of two gamma draws."""
    first, second = tf.unstack(tf.random.split(seed, 2), num=2)
    one = tf.random.stateless_gamma(shape, first, alpha)
    other = tf.random.stateless_gamma(shape, second, alpha)
    return one / tf.maximum(one + other, 1e-12)
