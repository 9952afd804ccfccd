"""Load weights into a freshly built backbone, all of them or none, and say where they came from."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.weight_files import (
    bundled_file,
    cache_folders,
    cannot_download,
    check_fits,
    check_online,
    imagenet_file,
    is_legacy,
    legacy_layers,
    open_hdf5,
    weight_file,
)
from tlkeras.errors import UserError
from tlkeras.io.hashing import file_hash

# Standard deviations of ImageNet's RGB channels on the 0-1 scale, as in keras.applications.efficientnet.
IMAGENET_STD = np.array([0.229, 0.224, 0.225], "float32")


def load_backbone_weights(model: keras.Model, spec: BackboneSpec, weights: str, image_size: int) -> str:
    """Load weights into a backbone that was built with `weights=None`.

    Args:
        model: the backbone without classifier, as `keras.applications` builds it.
        spec: its spec.
        weights: "none", "imagenet" (from Keras' cache, else downloaded into it), "bundled" (of this repository), or a
            path: `.h5` as published for keras.applications with or without classifier, `.weights.h5`, or a `.keras`
            model with the backbone in it.
        image_size: in pixels; MobileNet has a weight file for each of several sizes.

    Returns:
        Where the weights came from, for `config.yaml` and the log of a run.

    Raises:
        UserError: the weights are missing or do not fit; the model keeps those that it had before.
    """
    if weights == "none":
        return "random weights"
    if weights == "bundled":
        path = bundled_file(spec)
        source = f"bundled weights ({path.name}, see its model card)"
    elif weights == "imagenet":
        path = imagenet_file(spec, image_size) or download(spec, image_size)
        source = f"ImageNet ({path.name})"
    else:
        path = weight_file(weights)
        check_fits(path, spec)
        source = f"{path.name}, SHA-256 {file_hash(path, 'sha256')[:12]}…"
    with restore_on_failure(model, path):
        read_into(model, path)
    fix_efficientnet_variance(model)
    return source


def download(spec: BackboneSpec, image_size: int) -> Path:
    """Download ImageNet weights into Keras' cache with Keras' progress bar; a file in part is never left there.

    Raises:
        UserError: the file cannot be downloaded, or what was sent is not the file.
    """
    check_online(spec, image_size)
    name, url = spec.weights_file(image_size)
    folder = cache_folders()[-1]
    part = folder / f"{name}.{os.getpid()}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        keras.utils.get_file(
            part.name, url, file_hash=spec.weights_hash, cache_dir=folder.parent, cache_subdir=folder.name
        )
        check_fits(part, spec)
        part.replace(folder / name)
    except Exception as error:  # get_file raises a bare Exception when the connection breaks.
        raise cannot_download(spec, image_size, error) from error
    finally:
        part.unlink(missing_ok=True)
    return folder / name


@contextlib.contextmanager
def restore_on_failure(model: keras.Model, path: Path) -> Iterator[None]:
    """Check that the block assigns every weight of the model; if it does not, restore the former weights.

    Each weight is set to NaN (or -1 where it is an integer) beforehand and must not be afterwards.

    Raises:
        UserError: a weight was not assigned, or the file holds NaN or infinity.
    """
    before = [keras.ops.convert_to_numpy(weight) for weight in weights_in_order(model)]
    try:
        assign(model, [np.full_like(value, -1 if value.dtype.kind == "i" else np.nan) for value in before])
        yield
        bad = [weight.path for weight in weights_in_order(model) if not has_value(keras.ops.convert_to_numpy(weight))]
        if bad:
            raise UserError(f"{path} leaves {len(bad)} weights without a finite value, first {bad[0]}. Get it again.")
    except BaseException:
        assign(model, before)
        raise


def has_value(value: np.ndarray) -> bool:
    """Return whether a weight `(…)` was assigned after `restore_on_failure`: all finite, or no integer negative."""
    return bool((value >= 0).all() if value.dtype.kind == "i" else np.isfinite(value).all())


def read_into(model: keras.Model, path: Path) -> None:
    """Read a weight file of any kind into the model.

    Raises:
        UserError: its layers are not those of the model.
    """
    if path.suffix == ".keras":
        assign(model, weights_of_saved_model(model, path))
        return
    with open_hdf5(path) as file:
        if is_legacy(file):
            # In the order of layers, as Keras reads it; a classifier comes last and is left unread.
            saved = [data for _, weights in legacy_layers(file) for data in weights][: len(model.weights)]
            if [data.shape for data in saved] != shapes(weights_in_order(model)):
                raise UserError(f"{path} has as many parameters as {model.name}, but other layers or another order.")
            assign(model, [np.asarray(data) for data in saved])
            return
    try:
        model.load_weights(path)
    except Exception as error:  # ValueError where layers differ, others where the file is damaged
        raise UserError(f"{path} has as many parameters as {model.name}, but other layers: {error}") from error


def weights_of_saved_model(model: keras.Model, path: Path) -> list[np.ndarray]:
    """Return the weights of the backbone in a `.keras` file: the whole model, its beginning, or a model nested in it.

    Raises:
        UserError: the file cannot be opened in safe mode, or no such backbone is in it.
    """
    try:
        saved = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises errors of many kinds here.
        raise UserError(f"{path} cannot be opened as a Keras model in safe mode: {error}") from error
    wanted = shapes(weights_in_order(model))
    for part in models_in(saved):
        weights = weights_in_order(part)[: len(wanted)]
        if shapes(weights) == wanted:
            return [keras.ops.convert_to_numpy(weight) for weight in weights]
    raise UserError(f"{path} holds no model with the layers of {model.name}.")


def models_in(model: keras.Model) -> Iterator[keras.Model]:
    """Yield a model and all models nested in it."""
    yield model
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from models_in(layer)


def weights_in_order(model: keras.Model) -> list[keras.Variable]:
    """Return the weights layer by layer, the order of legacy files."""
    return [weight for layer in model.layers for weight in layer.weights]


def shapes(weights: list[keras.Variable]) -> list[tuple[int, ...]]:
    """Return the shape of each weight."""
    return [tuple(weight.shape) for weight in weights]


def assign(model: keras.Model, values: list[np.ndarray]) -> None:
    """Assign these values to the weights, in the order of `weights_in_order`."""
    for weight, value in zip(weights_in_order(model), values, strict=True):
        weight.assign(value)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights.


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
