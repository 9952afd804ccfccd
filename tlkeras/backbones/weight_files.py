"""Weight files of one's own, checked before TensorFlow loads: which backbone one fits, and that it is a plain file."""

import contextlib
import re
import zipfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import h5py

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.weights import check_fits
from tlkeras.errors import UserError, first_sentence
from tlkeras.io.archives import check_model_file

KINDS = {".h5": ("HDF5 file", b"\x89HDF\r\n\x1a\n"), ".keras": ("zip archive", b"PK\x03\x04")}
# Layers above the features in the networks of keras.applications, and Keras' automatic name of a dense layer.
CLASSIFIER = re.compile(r"predictions|probs|fc\d+|logits|conv_preds|conv_2|.*_head_dense|dense(_\d+)?", re.IGNORECASE)


def own_file(spec: BackboneSpec, weights: str) -> Path:
    """Return the file that `weights` names; refuse what is not of the kind that its name says, or does not fit."""
    path = Path(weights).expanduser()
    if path.suffix not in KINDS:
        raise UserError(
            f'Weights were "{weights}"; give imagenet, bundled, none, or a file that ends in .h5 or .keras.'
        )
    if not path.is_file():
        raise UserError(f'Weights were "{weights}"; there is no such file. Give the path of a weight file.')
    kind, start = KINDS[path.suffix]
    with path.open("rb") as file:
        if file.read(len(start)) != start:
            raise UserError(f"{path} is not a weight file: a name in {path.suffix} stands for a {kind}. Get it again.")
    if path.suffix == ".keras":
        check_model_file(path)
    check_fits(path, spec, parameter_counts(path))
    return path


def parameter_counts(path: Path) -> list[int]:
    """Return the numbers of parameters that a backbone in this file may have, the most likely first.

    For a legacy file these are all sums of first layers, so that a classifier on top may have any name. A Keras 3 file
    does not hold its layers in order, so there a classifier is known by its name.
    """
    with open_hdf5(path) as file:
        if is_legacy(file):
            layers = [(name, sum(data.size for data in weights)) for name, weights in legacy_layers(file)]
            return [without_classifier(layers), *accumulate(count for _, count in layers)]
        return [without_classifier(keras3_layers(model["layers"])) for model in keras3_models(file)]


def without_classifier(layers: list[tuple[str, int]]) -> int:
    """Return the parameters of all layers that are not known as those of a classifier."""
    return sum(count for name, count in layers if not CLASSIFIER.fullmatch(name))


def keras3_layers(group: h5py.Group) -> list[tuple[str, int]]:
    """Return names and parameter counts of the layers in a Keras 3 file."""
    sizes = [sum(getattr(item, "size", 0) for item in items_of(layer)) for layer in group.values()]
    names = [layer["vars"].attrs.get("name", key) if "vars" in layer else key for key, layer in group.items()]
    return list(zip(names, sizes, strict=True))


def keras3_models(file: h5py.File) -> list[h5py.File | h5py.Group]:
    """Return the model of a Keras 3 file and those nested in it."""
    return [file, *(item for item in items_of(file) if isinstance(item, h5py.Group) and "layers" in item)]


def items_of(group: h5py.Group) -> list[h5py.Group | h5py.Dataset]:
    """Return all groups and arrays inside a group."""
    items: list[h5py.Group | h5py.Dataset] = []
    group.visititems(lambda _, item: items.append(item))
    return items


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file, or the one inside a `.keras` archive; refuse one that is damaged or not made by Keras."""
    try:
        with contextlib.ExitStack() as stack:
            inner = path
            if path.suffix == ".keras":
                inner = stack.enter_context(stack.enter_context(zipfile.ZipFile(path)).open("model.weights.h5"))
            file = stack.enter_context(h5py.File(inner, "r"))
            if not is_legacy(file) and "layers" not in file:
                raise UserError(f"{path} holds no Keras model: neither layer_names (legacy) nor layers (Keras 3).")
            if not is_legacy(file) and not path.name.endswith((".weights.h5", ".keras")):
                raise UserError(f"{path} holds Keras 3 weights; rename it so that it ends in .weights.h5.")
            if has_external_data(file):
                raise UserError(f"{path} is not opened: it takes weights from other files. Give one that holds them.")
            yield file
    except UserError:
        raise
    except Exception as error:  # of many kinds, when a damaged file is opened and when it is read
        raise UserError(f"{path} cannot be read as a weight file ({first_sentence(error)}). Get it again.") from error


def has_external_data(file: h5py.File) -> bool:
    """Return whether a file refers to another one: an untrusted file could read any file of the user that way."""
    links: list[object] = []
    file.visititems_links(lambda _, link: links.append(link))
    return any(isinstance(link, h5py.ExternalLink) for link in links) or any(
        item.external or item.is_virtual for item in items_of(file) if isinstance(item, h5py.Dataset)
    )


def is_legacy(file: h5py.File) -> bool:
    """Return whether the file has the layout of Keras before version 3 and of keras.applications."""
    return any(key.startswith("layer_names") for key in file.attrs) or "model_weights" in file


def legacy_layers(file: h5py.File) -> list[tuple[str, list[h5py.Dataset]]]:
    """Return names and weights of the layers in a legacy file, in the order of the model."""
    root = file.get("model_weights", file)
    layers = [(name, root[name]) for name in texts(root, "layer_names")]
    return [(name, [group[weight] for weight in texts(group, "weight_names")]) for name, group in layers]


def texts(group: h5py.Group, name: str) -> list[str]:
    """Return a list of texts in the attributes; long ones are split into `name0`, `name1`, …"""
    pieces = [name] if name in group.attrs else []
    while f"{name}{len(pieces)}" in group.attrs:
        pieces.append(f"{name}{len(pieces)}")
    found = [text for piece in pieces for text in group.attrs[piece]]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in found]
