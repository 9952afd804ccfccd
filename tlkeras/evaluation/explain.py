"""What an image model looked at: maps of the pixels that speak for a class, and checks whether to trust them."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr

from tlkeras.errors import UserError
from tlkeras.modalities.image import box_size
from tlkeras.models.introspect import decoded_input, get_backbone, resize_mode
from tlkeras.models.keras_private import nested_io

Method = Literal["grad-cam", "grad-cam++", "occlusion"]
GRID = 7  # an image has GRID x GRID cells for occlusion, and a patch covers 2 x 2 of them
OPACITY = 0.6  # of the overlay where a map is 1
SINGLE_CELL = "The feature map has a single cell and shows the whole image. Use occlusion, or larger images."


def class_maps(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    method: Method = "grad-cam",
    batch_size: int = 32,
) -> np.ndarray:
    """Return how much each part of each image speaks for a class.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) and Grad-CAM++ (Chattopadhay et al. 2018, arXiv:1710.11063)
    weight the channels of the backbone's feature map by the gradient of the class's logit. Occlusion (Zeiler and Fergus
    2014, arXiv:1311.2901) covers patches with the image's mean color and measures how far the logit falls; it needs no
    feature map, and one pass for each patch. For regression the number itself is used instead of the logit.

    Args:
        model: an image model from `build_classifier`, or loaded from its file; its weights are not changed.
        images: uint8 or float RGB `(N, H, W, 3)`, 0–255; where the model does not see them, maps are 0.
        classes: index of the class to explain for each image, `(N,)`; 0 for regression.
        method: "grad-cam", "grad-cam++" or "occlusion".
        batch_size: images at a time; occlusion takes the patches of one image at a time.

    Returns:
        float32 `(N, H, W)` from 0 to 1, the maximum of each map; a map is 0 where nothing speaks for the class.

    Raises:
        UserError: for another method, shapes that do not fit, a class that the model does not have, a model that takes
            no images, or for the gradient methods one whose backbone ends in a vector.

    Example:
        >>> maps = class_maps(model, images, model.predict(images).argmax(axis=1))
    """
    images, classes = np.asarray(images), np.asarray(classes)
    check_arguments(model, images, classes, method)
    maps_of = make_class_maps(model, method)
    maps = np.zeros(images.shape[:3], "float32")
    for start in range(0, len(images), batch_size):
        rows = slice(start, start + batch_size)
        maps[rows] = maps_of(images[rows], classes[rows])
    return maps


def make_class_maps(model: keras.Model, method: Method) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return a function from images and classes to maps, as `class_maps` gives them, for many calls of one model."""
    decoded, mode = decoded_input(model), resize_mode(model)
    maps_of = occlusion_maps(model) if method == "occlusion" else gradient_maps(model, method)
    resize = keras.Model(model.input, decoded) if decoded is not model.input else None

    def full_size(images: np.ndarray, classes: np.ndarray) -> np.ndarray:
        height, width = images.shape[1:3]
        across, down = box_size(width, height, mode)
        top, left = max(0, down - height) // 2, max(0, across - width) // 2  # of the image in what pads it
        batch = tf.cast(images, "float32")
        ready = batch if resize is None else resize(batch, training=False)
        found = maps_of(ready, tf.constant(classes, "int32"))
        box = np.maximum(tf.image.resize(found[..., None], (down, across))[..., 0], 0)
        seen = box[:, top : top + height, left : left + width]
        maximum = seen.max(axis=(1, 2), keepdims=True)
        top, left = max(0, height - down) // 2, max(0, width - across) // 2  # of what is seen in the image
        maps = np.zeros(images.shape[:3], "float32")
        maps[:, top : top + seen.shape[1], left : left + seen.shape[2]] = seen / np.where(maximum > 0, maximum, 1)
        return maps

    return full_size


def check_arguments(model: keras.Model, images: np.ndarray, classes: np.ndarray, method: str) -> None:
    """Refuse what `class_maps` cannot explain."""
    if method not in get_args(Method):
        raise UserError(f"The method was {method}; it must be one of {', '.join(get_args(Method))}.")
    if len(decoded_input(model).shape) != 4:
        raise UserError(f"The model {model.name} takes no images; only image models can be explained.")
    if images.ndim != 4 or images.shape[-1] != 3 or classes.shape != images.shape[:1]:
        raise UserError(
            f"The images have the shape {images.shape} and the classes {classes.shape}; give images (N, H, W, 3) and "
            "one class for each, (N,)."
        )
    outputs = model.output_shape[-1]
    if len(classes) and not 0 <= classes.min() <= classes.max() < outputs:
        raise UserError(
            f"Classes from {classes.min()} to {classes.max()} were given; the model has 0 to {outputs - 1}."
        )
    if method == "occlusion":
        return
    shape = nested_io(model, get_backbone(model))[1].shape
    if len(shape) != 4:
        raise UserError(
            f"The backbone {get_backbone(model).name} ends in a vector {tuple(shape)}, so {method} has no feature "
            'map to explain. Use the method "occlusion".'
        )


def has_single_cell(model: keras.Model) -> bool:
    """Return whether the backbone's feature map is of one cell, so that gradient maps show the whole image."""
    return nested_io(model, get_backbone(model))[1].shape[1:3] == (1, 1)


def class_logits(model: keras.Model, inside: Any, classes: Any) -> Any:
    """Return the logit of a class for each row `(B, F)` that reaches the output layer, before its activation."""
    output = model.get_layer("output")
    logits = tf.matmul(tf.cast(inside, "float32"), output.kernel) + output.bias
    return tf.gather(logits, classes, axis=1, batch_dims=1)


def gradient_maps(model: keras.Model, method: Method) -> Callable:
    """Return a function from decoded images and classes to maps `(B, h, w)` of the feature map's size.

    The three models are joined by hand, as Keras finds no way from a model's input to what is inside a nested one.
    """
    backbone, decoded = get_backbone(model), decoded_input(model)
    scaled, features = nested_io(model, backbone)
    below = keras.Model(decoded, scaled) if decoded is not scaled else None
    above = keras.Model(features, model.get_layer("output").input)

    @tf.function(reduce_retracing=True, autograph=False)
    def maps_of(images: Any, classes: Any) -> Any:
        activations = backbone(images if below is None else below(images, training=False), training=False)
        with tf.GradientTape() as tape:
            tape.watch(activations)
            score = class_logits(model, above(activations, training=False), classes)
        gradients = tf.cast(tape.gradient(score, activations), "float32")
        activations = tf.cast(activations, "float32")
        if method == "grad-cam":
            weights = tf.reduce_mean(gradients, (1, 2), keepdims=True)
        else:
            total = tf.reduce_sum(activations, (1, 2), keepdims=True)
            alpha = tf.math.divide_no_nan(gradients**2, 2 * gradients**2 + total * gradients**3)
            weights = tf.reduce_sum(alpha * tf.nn.relu(gradients), (1, 2), keepdims=True)
        return tf.nn.relu(tf.reduce_sum(weights * activations, -1))

    return maps_of


def occlusion_maps(model: keras.Model) -> Callable:
    """Return a function from decoded images and classes to maps `(B, GRID, GRID)`: the mean fall of the logit."""
    inside = keras.Model(decoded_input(model), model.get_layer("output").input)
    corners = [(row, column) for row in range(GRID - 1) for column in range(GRID - 1)]
    patches = np.zeros((len(corners), GRID, GRID), "float32")
    for patch, (row, column) in zip(patches, corners, strict=True):
        patch[row : row + 2, column : column + 2] = 1

    @tf.function(reduce_retracing=True, autograph=False)
    def map_of(image: Any, wanted: Any) -> Any:
        covers = tf.image.resize(patches[..., None], tf.shape(image)[:2], "nearest")
        covered = image * (1 - covers) + tf.reduce_mean(image, (0, 1)) * covers
        pixels = tf.concat([image[None], covered], 0)
        scores = class_logits(model, inside(pixels, training=False), tf.fill((len(corners) + 1,), wanted))
        fall = tf.reshape(scores[0] - scores[1:], (-1, 1, 1))
        return tf.reduce_sum(fall * patches, 0) / patches.sum(0)

    return lambda images, classes: tf.stack([map_of(*pair) for pair in zip(images, classes, strict=True)])


def overlay(images: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """Lay maps over their images in colors: the higher, the redder and the less transparent.

    Args:
        images: uint8 or float RGB `(N, H, W, 3)`, 0–255.
        maps: from `class_maps`, `(N, H, W)`, 0 to 1.

    Returns:
        uint8 `(N, H, W, 3)`, 0–255.

    Example:
        >>> overlaid = overlay(images, class_maps(model, images, classes))
    """
    from matplotlib import colormaps

    alpha = OPACITY * np.asarray(maps)[..., None]
    colors = 255 * colormaps["turbo"](maps)[..., :3]
    return np.rint(images * (1 - alpha) + colors * alpha).astype("uint8")


def sanity_check(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    method: Method = "grad-cam",
    seed: int = 0,
) -> float:
    """Return how much maps stay the same when the weights are shuffled, which should be little.

    A map that does not depend on what was learned explains nothing (Adebayo et al. 2018, arXiv:1810.03292). The values
    of each weight are permuted for the second map, and put back.

    Args:
        model: as for `class_maps`.
        images: `(N, H, W, 3)`, 0–255.
        classes: index of the class to explain for each image, `(N,)`.
        method: "grad-cam", "grad-cam++" or "occlusion".
        seed: of the permutations.

    Returns:
        The mean rank correlation (Spearman) of the two maps of an image, from -1 to 1; a flat map counts as 0.

    Example:
        >>> sanity_check(model, images, classes)  # below 0.5: the maps depend on the weights
    """
    trained = class_maps(model, images, classes, method)
    weights, rng = model.get_weights(), np.random.default_rng(seed)
    try:
        model.set_weights([rng.permutation(value.ravel()).reshape(value.shape) for value in weights])
        shuffled = class_maps(model, images, classes, method)
    finally:
        model.set_weights(weights)
    pairs = zip(trained.reshape(len(trained), -1), shuffled.reshape(len(trained), -1), strict=True)
    return float(np.mean([spearmanr(*pair).statistic if all(map(np.ptp, pair)) else 0.0 for pair in pairs]))


def random_maps(images: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return maps `(N, H, W)` of random numbers, in GRID x GRID cells, with which those of a method are compared."""
    cells = np.random.default_rng(seed).random((len(images), GRID, GRID, 1), "float32")
    return tf.image.resize(cells, images.shape[1:3])[..., 0].numpy()


def deletion_scores(
    model: keras.Model,
    images: np.ndarray,
    classes: Sequence[int] | np.ndarray,
    maps: np.ndarray,
    steps: int = 10,
) -> np.ndarray:
    """Return how the probability of a class holds while its most important pixels are removed; lower is better.

    Pixels become the image's mean color, a tenth of them with each step (Petsiuk et al. 2018, arXiv:1806.07421).
    Compare with the score of maps of random numbers.

    Args:
        model: a classifier as for `class_maps`.
        images: `(N, H, W, 3)`, 0–255.
        classes: index of the class for each image, `(N,)`.
        maps: from `class_maps`, `(N, H, W)`.
        steps: how many removals there are.

    Returns:
        float `(N,)`: the area under the probability over the removed fraction of pixels, 0 to 1.

    Example:
        >>> deletion_scores(model, images, classes, maps).mean()
    """
    images = np.asarray(images, "float32")
    ranks = np.argsort(np.argsort(-maps.reshape(len(maps), -1), axis=1, kind="stable"), axis=1).reshape(maps.shape)
    mean = images.mean(axis=(1, 2), keepdims=True)
    curve = []
    for step in range(steps + 1):
        removed = ranks[..., None] < step / steps * maps[0].size
        outputs = model.predict(np.where(removed, mean, images), verbose=0)
        curve.append(outputs[np.arange(len(images)), np.asarray(classes)])
    return np.trapezoid(curve, dx=1 / steps, axis=0)
