"""Load a weight file of one's own that was checked by the module of this name in `tlkeras.backbones`."""

import contextlib
import json
import tempfile
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from tlkeras.backbones.weight_files import is_legacy, items_of, keras3_models, legacy_layers, open_hdf5
from tlkeras.errors import UserError, first_sentence
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
        nested = [part for part in keras3_models(file)[1:] if count_items(part) == model.count_params()]
        if len(nested) == 1:  # of a whole model; its layers have their names by kind and number, each model anew
            load_part(model, nested[0], path)
            return
    try:
        model.load_weights(path)
    except Exception as error:  # ValueError where layers differ, others where the file is damaged
        raise other_layers(path, model) from error


def count_items(group: h5py.Group) -> int:
    """Return how many numbers are in a group."""
    return sum(getattr(item, "size", 0) for item in items_of(group))


def load_part(model: keras.Model, part: h5py.Group, path: Path) -> None:
    """Load a nested model of a `.weights.h5` file as if it had been saved alone."""
    with tempfile.TemporaryDirectory() as folder:
        alone = Path(folder, "alone.weights.h5")
        with h5py.File(alone, "w") as file:
            for name in part:
                part.copy(name, file)
        try:
            model.load_weights(alone)
        except Exception as error:  # as below
            raise other_layers(path, model) from error


def other_layers(path: Path, model: keras.Model) -> UserError:
    """Return the error for a file with the right number of parameters."""
    return UserError(
        f"{path} has as many parameters as {model.name}, but other layers or another order. Give the backbone alone, "
        "as its save_weights writes it, or the whole model as .keras of Keras 3."
    )


def legacy_weights(model: keras.Model, path: Path, file: h5py.File) -> list[np.ndarray]:
    """Return the weights in the order of layers, as Keras reads them; a classifier comes last and is left out.

    A model in the model has all its trainable weights first, so there each is known by the name of its layer.
    """
    layers, wanted = legacy_layers(file), weights_in_order(model)
    saved = [data for _, weights in layers for data in weights][: len(wanted)]
    for _, weights in layers:
        named = {short_name(data.name): data for data in weights}
        if len(weights) == len(wanted) and named.keys() == {short_name(weight.path) for weight in wanted}:
            saved = [named[short_name(weight.path)] for weight in wanted]
    if [data.shape for data in saved] != [weight.shape for weight in wanted]:
        raise other_layers(path, model)
    return [np.asarray(data) for data in saved]


def short_name(path: str) -> str:
    """Return layer and weight of a path, as today's Keras calls them."""
    return "/".join(path.split("/")[-2:]).partition(":")[0].replace("/depthwise_kernel", "/kernel")


def weights_of_saved_model(model: keras.Model, path: Path) -> list[np.ndarray]:
    """Return the weights of the backbone in a `.keras` file: all of it, its beginning, or a model nested in it."""
    try:
        saved = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras raises errors of many kinds here.
        if (made_by := keras_version(path)).startswith("2."):
            raise UserError(
                f"{path} was saved by Keras {made_by}, and Keras 3 cannot open it. Open it there, call "
                "model.save_weights('weights.h5'), and give that file."
            ) from error
        raise UserError(
            f"{path} cannot be opened as a Keras model in safe mode: {first_sentence(error)}. Give the weights of its "
            "backbone, as save_weights writes them."
        ) from error
    wanted = [weight.shape for weight in weights_in_order(model)]
    for part in flatten_layers(saved):
        weights = weights_in_order(part)[: len(wanted)] if isinstance(part, keras.Model) else []
        if [weight.shape for weight in weights] == wanted:
            return list(map(keras.ops.convert_to_numpy, weights))
    raise UserError(f"{path} holds no model with the layers of {model.name}.")


def keras_version(path: Path) -> str:
    """Return the version of Keras that saved a `.keras` file; empty where it does not say."""
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:  # of many kinds where it is damaged
        return str(json.loads(archive.read("metadata.json"))["keras_version"])
    return ""


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
