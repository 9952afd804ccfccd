"""Load a weight file of one's own that was checked by the module of this name in `tlkeras.backbones`."""

from pathlib import Path

import h5py
import keras
import numpy as np

from tlkeras.backbones.weight_files import is_legacy, legacy_layers, open_hdf5
from tlkeras.errors import UserError
from tlkeras.models.keras_private import flatten_layers


def load_own_file(model: keras.Model, path: Path) -> None:
    """Load a file of any kind into a backbone; refuse one that does not fit, or does not give each weight a value."""
    assign(model, [np.full(old.shape, -1 if "int" in old.dtype else np.nan) for old in weights_in_order(model)])
    read_into(model, path)
    bad = [weight.path for weight in weights_in_order(model) if is_unset(keras.ops.convert_to_numpy(weight))]
    if bad:
        raise UserError(f"{path} leaves {len(bad)} weights without a finite value, first {bad[0]}. Get it again.")


def is_unset(value: np.ndarray) -> bool:
    """Return whether part of a weight is not finite or, where it is an integer, negative."""
    return bool((value < 0).any() if value.dtype.kind == "i" else not np.isfinite(value).all())


def read_into(model: keras.Model, path: Path) -> None:
    """Read a file of any kind into a backbone."""
    if path.suffix == ".keras":
        assign(model, weights_of_saved_model(model, path))
        return
    with open_hdf5(path) as file:
        if is_legacy(file):
            assign(model, legacy_weights(model, path, file))
            return
    try:
        model.load_weights(path)
    except Exception as error:  # ValueError where layers differ, others where the file is damaged
        raise UserError(f"{path} has as many parameters as {model.name}, but other layers: {error}") from error


def legacy_weights(model: keras.Model, path: Path, file: h5py.File) -> list[np.ndarray]:
    """Return the weights in the order of layers, as Keras reads them; a classifier comes last and is left out."""
    saved = [data for _, weights in legacy_layers(file) for data in weights][: len(model.weights)]
    if [data.shape for data in saved] != [weight.shape for weight in weights_in_order(model)]:
        raise UserError(f"{path} has as many parameters as {model.name}, but other layers or another order.")
    return [np.asarray(data) for data in saved]


def weights_of_saved_model(model: keras.Model, path: Path) -> list[np.ndarray]:
    """Return the weights of the backbone in a `.keras` file: all of it, its beginning, or a model nested in it."""
    try:
        saved = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises errors of many kinds here.
        raise UserError(f"{path} cannot be opened as a Keras model in safe mode: {error}") from error
    wanted = [weight.shape for weight in weights_in_order(model)]
    for part in flatten_layers(saved):
        weights = weights_in_order(part)[: len(wanted)] if isinstance(part, keras.Model) else []
        if [weight.shape for weight in weights] == wanted:
            return list(map(keras.ops.convert_to_numpy, weights))
    raise UserError(f"{path} holds no model with the layers of {model.name}.")


def weights_in_order(model: keras.Model) -> list[keras.Variable]:
    """Return the weights layer by layer, the order of legacy files."""
    return [weight for layer in model.layers for weight in layer.weights]


def assign(model: keras.Model, values: list[np.ndarray]) -> None:
    """Assign these values to the weights, in the order of `weights_in_order`."""
    for weight, value in zip(weights_in_order(model), values, strict=True):
        weight.assign(value)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # it computes with copies of its weights.
