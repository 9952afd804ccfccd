"""Load weights into a freshly built backbone, and say where they came from."""

import os
from pathlib import Path
from pkgutil import resolve_name

import keras
import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.weights import (
    cache_paths,
    cannot_download,
    check_published,
    check_weights_option,
    find_weights,
)
from tlkeras.errors import UserError
from tlkeras.io.hashing import file_hash

# Standard deviations of ImageNet's RGB channels on the 0-1 scale, as in keras.applications.efficientnet.
IMAGENET_STD = np.array([0.229, 0.224, 0.225], "float32")


def load_backbone_weights(model: keras.Model, spec: BackboneSpec, weights: str, image_size: int) -> str:
    """Load weights into a backbone that Keras built with `weights=None`; return where they came from, for the log.

    `weights` is "none", "imagenet" (from Keras' cache, else downloaded into it), "bundled" (of this repository), or a
    path: `.h5` as published for keras.applications with or without classifier, `.weights.h5`, or a `.keras` model with
    the backbone in it. Refuse a file that is missing or does not fit.
    """
    if weights == "none":
        return "random weights"
    path = find_weights(spec, weights, image_size) or download(spec, image_size)
    if weights in ("bundled", "imagenet"):
        try:
            model.load_weights(path)
        except Exception as error:  # of many kinds where the file is damaged and Keras has no hash of it
            raise UserError(f"{path} has as many parameters as {model.name}, but other layers.") from error
    else:
        resolve_name(f"{__package__}.weight_files:load_own_file")(model, path)  # which a project may lack
    fix_efficientnet_variance(model)
    if weights == "bundled":
        return "bundled weights (see their model card)"
    return f"ImageNet ({path.name})" if weights == "imagenet" else f"{path.name}, SHA-256 {file_hash(path)[:12]}…"


def download(spec: BackboneSpec, image_size: int) -> Path:
    """Download ImageNet weights into Keras' cache with Keras' progress bar; a file in part is never left there."""
    check_weights_option(spec, "imagenet", image_size)
    path = cache_paths(spec, image_size)[-1]
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        keras.utils.get_file(
            part.name, spec.weights_file(image_size)[1], file_hash=spec.weights_hash, cache_dir=path.parents[1],
            cache_subdir=path.parent.name,
        )  # fmt: skip
        check_published(part, spec, image_size)
        part.replace(path)
    except Exception as error:  # get_file raises a bare Exception when the connection breaks.
        raise cannot_download(spec, image_size, error) from error
    finally:
        part.unlink(missing_ok=True)
    return path


def fix_efficientnet_variance(model: keras.Model) -> None:
    """Make EfficientNet (the first version) divide by the standard deviation of the pixels, not by its root.

    The published files hold the standard deviation where the Normalization layer expects the variance. Keras
    compensates with one more Rescaling layer, but only when built with `weights="imagenet"`, so the same file given as
    a path is silently wrong (https://github.com/tensorflow/tensorflow/issues/49930). Here the variance itself is
    corrected, so a file that tlkeras wrote holds the right one and is left alone.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.input_variance is None:
            variance = keras.ops.convert_to_numpy(layer.adapt_variance)
            if np.allclose(variance, IMAGENET_STD, rtol=1e-3):
                layer.adapt_variance.assign(variance * IMAGENET_STD)
                layer.finalize_state()
