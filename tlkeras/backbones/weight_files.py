"""Weight files: where they are, whether they are complete, which backbone they fit. Nothing here loads TensorFlow."""

import contextlib
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import h5py

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.errors import UserError
from tlkeras.io.archives import check_model_file
from tlkeras.io.hashing import file_hash

BUNDLED = Path(__file__).parent / "bundled"
SUFFIXES = (".h5", ".keras")
HDF5_START, ZIP_START = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
# Layers above the features in the networks of keras.applications, and Keras' automatic name of a dense layer.
CLASSIFIER = re.compile(r"predictions|probs|fc\d+|logits|conv_preds|conv_2|.*_head_dense|dense(_\d+)?", re.IGNORECASE)


def check_weights_option(backbone: BackboneSpec, weights: str, image_size: int) -> None:
    """Refuse weights that cannot be used, as far as that can be told before TensorFlow loads.

    Args:
        backbone: its spec.
        weights: "imagenet", "bundled", "none" or a path.
        image_size: in pixels; MobileNet has a weight file for each of several sizes.

    Raises:
        UserError: there is no such file, it is not a weight file or another backbone's; or ImageNet weights are neither
            in Keras' cache nor reachable on the network.
    """
    if weights == "imagenet":
        if imagenet_file(backbone, image_size) is None:
            check_online(backbone, image_size)
    elif weights == "bundled":
        bundled_file(backbone)
    elif weights != "none":
        check_fits(weight_file(weights), backbone)


def bundled_file(backbone: BackboneSpec) -> Path:
    """Return the weights that come with the repository, after checking them.

    Raises:
        UserError: there are none for this backbone, or the file is missing or was changed.
    """
    if backbone.bundled_hash is None:
        known = ", ".join(spec.name for spec in BACKBONES.values() if spec.bundled_hash)
        raise UserError(
            f"No weights of {backbone.name} come with the repository, only of {known}: give that backbone, or weights "
            "imagenet, none or a file."
        )
    path = BUNDLED / f"{backbone.name}.weights.h5"
    if not path.is_file() or file_hash(path, "sha256") != backbone.bundled_hash:
        raise UserError(f"{path} is missing or damaged. Get it again from the repository.")
    return path


def weight_file(weights: str) -> Path:
    """Return the file that `weights` names, after checking that it exists and is of the kind that its name says.

    Raises:
        UserError: it is not.
    """
    path = Path(weights).expanduser()
    if not path.name.endswith(SUFFIXES):
        raise UserError(
            f'Weights were "{weights}"; give imagenet, bundled, none, or a file that ends in .h5 or .keras.'
        )
    if not path.is_file():
        raise UserError(f'Weights were "{weights}"; there is no such file. Give the path of a weight file.')
    kind, start = ("zip archive", ZIP_START) if path.suffix == ".keras" else ("HDF5 file", HDF5_START)
    with path.open("rb") as file:
        if file.read(len(start)) != start:
            raise UserError(f"{path} is not a weight file: a name in {path.suffix} stands for a {kind}. Get it again.")
    if path.suffix == ".keras":
        check_model_file(path)
    return path


def cache_folders() -> list[Path]:
    """Return the folders in which weight files are looked for; Keras downloads to the last of them.

    That is `$KERAS_HOME/models`, else `~/.keras/models`. Where that is read-only Keras uses `/tmp/.keras/models`
    instead; here a file in the first is used all the same.
    """
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    exists = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    if exists.is_dir() and os.access(exists, os.W_OK):
        return [home / "models"]
    return [home / "models", Path(tempfile.gettempdir(), ".keras", "models")]


def imagenet_file(backbone: BackboneSpec, image_size: int) -> Path | None:
    """Return the ImageNet weights in Keras' cache, after checking them; None when they are not there.

    Raises:
        UserError: the file is there and is damaged or another one; it is not deleted.
    """
    name, url = backbone.weights_file(image_size)
    path = next((folder / name for folder in cache_folders() if (folder / name).is_file()), None)
    if path is None or backbone.weights_hash is None:
        if path is not None:
            check_fits(path, backbone)
        return path
    algorithm = "md5" if len(backbone.weights_hash) == 32 else "sha256"
    found = file_hash(path, algorithm)
    if found != backbone.weights_hash:
        raise UserError(
            f"{path} is not the ImageNet weight file of {backbone.name}: its {algorithm.upper()} is {found} and should "
            f"be {backbone.weights_hash}. Replace it by {url}, or remove it to download it again."
        )
    return path


def check_online(backbone: BackboneSpec, image_size: int) -> None:
    """Check that the ImageNet weight file is on the network, through the proxy if the environment names one.

    Raises:
        UserError: it cannot be reached.
    """
    from tlkeras.io.network import check_reachable

    url = backbone.weights_file(image_size)[1]
    try:
        check_reachable(url)
    except OSError as error:
        raise cannot_download(backbone, image_size, error) from error


def cannot_download(backbone: BackboneSpec, image_size: int, reason: Exception) -> UserError:
    """Return the error for ImageNet weights that cannot be downloaded, with what to do."""
    name, url = backbone.weights_file(image_size)
    return UserError(
        f"The ImageNet weights of {backbone.name} are not in Keras' cache and cannot be downloaded ({reason}). "
        f"Put {name} from {url} into {cache_folders()[0]}, or give a weight file; "
        "--backbone MobileNetV2-0.35 --weights bundled needs no download."
    )


def check_fits(path: Path, backbone: BackboneSpec) -> None:
    """Compare the number of parameters in a file with the backbone's.

    Raises:
        UserError: they differ (naming the backbones that the file does fit), or the file cannot be read.
    """
    counts = parameter_counts(path)
    if backbone.num_params in counts:
        return
    others = [spec.name for spec in BACKBONES.values() if spec.num_params in counts]
    whose = f"as {' or '.join(others)}" if others else "as no backbone that tlkeras knows"
    found = BACKBONES[others[0]].num_params if others else counts[0]
    raise UserError(
        f"{path} does not fit: it has {found:,} parameters, {whose}, and {backbone.name} has {backbone.num_params:,} "
        f"(without classifier). Give weights of {backbone.name}{f', or backbone {others[0]}' if others else ''}."
    )


def parameter_counts(path: Path) -> list[int]:
    """Return the numbers of parameters that a backbone in this file may have, the most likely first.

    For a legacy file these are all sums of first layers, so that a classifier on top may have any name. A Keras 3 file
    does not hold its layers in order, so there a classifier is known by its name.
    """
    with open_hdf5(path) as file:
        if is_legacy(file):
            layers = [(name, sum(data.size for data in weights)) for name, weights in legacy_layers(file)]
            return [_without_classifier(layers), *accumulate(count for _, count in layers)]
        models = [file]
        if path.suffix == ".keras":
            file.visititems(lambda _, item: models.append(item) if _is_model(item) else None)
        return [_without_classifier(_keras3_layers(model["layers"])) for model in models]


def _without_classifier(layers: list[tuple[str, int]]) -> int:
    return sum(count for name, count in layers if not CLASSIFIER.fullmatch(name))


def _is_model(item: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(item, h5py.Group) and "layers" in item


def _keras3_layers(group: h5py.Group) -> list[tuple[str, int]]:
    layers = []
    for key, layer in group.items():
        sizes: list[int] = []
        layer.visititems(lambda _, item, sizes=sizes: sizes.append(getattr(item, "size", 0)))
        named = layer["vars"].attrs.get("name", key) if "vars" in layer else key
        layers.append((named, sum(sizes)))
    return layers


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file, or the one inside a `.keras` archive, for reading.

    Raises:
        UserError: it is truncated, damaged, or not made by Keras.
    """
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
        raise UserError(f"{path} cannot be read as a weight file ({error}). Get it again.") from error


def has_external_data(file: h5py.File) -> bool:
    """Return whether a file refers to another one: an untrusted file could read any file of the user that way."""
    links, items = [], []
    file.visititems_links(lambda _, link: links.append(link))
    file.visititems(lambda _, item: items.append(item))
    return any(isinstance(link, h5py.ExternalLink) for link in links) or any(
        item.external or item.is_virtual for item in items if isinstance(item, h5py.Dataset)
    )


def is_legacy(file: h5py.File) -> bool:
    """Return whether the file has the layout of Keras before version 3 and of keras.applications."""
    return any(key.startswith("layer_names") for key in file.attrs) or "model_weights" in file


def legacy_layers(file: h5py.File) -> list[tuple[str, list[h5py.Dataset]]]:
    """Return names and weights of the layers in a legacy file, in the order of the model."""
    root = file.get("model_weights", file)
    layers = [(name, root[name]) for name in _texts(root, "layer_names")]
    return [(name, [group[weight] for weight in _texts(group, "weight_names")]) for name, group in layers]


def _texts(group: h5py.Group, name: str) -> list[str]:
    """Return a list of texts in the attributes; long ones are split into `name0`, `name1`, …"""
    pieces = [name] if name in group.attrs else []
    while f"{name}{len(pieces)}" in group.attrs:
        pieces.append(f"{name}{len(pieces)}")
    texts = [text for piece in pieces for text in group.attrs[piece]]
    return [text.decode() if isinstance(text, bytes) else str(text) for text in texts]
