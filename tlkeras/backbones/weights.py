"""Weights that have a name: where their files are, and whether they are complete. Nothing here loads TensorFlow."""

import os
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name

import h5py

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.table import BACKBONES
from tlkeras.errors import UserError, first_sentence
from tlkeras.io.hashing import file_hash

BUNDLED = Path(__file__).parent / "bundled"
OWN_FILES = f"{__package__}.weight_files"  # reads other files; a project may lack it


def find_weights(spec: BackboneSpec, weights: str, image_size: int = 0) -> Path | None:
    """Return the file of weights, checked; None for "none", and for "imagenet" that must be downloaded first.

    Refuse what is missing, damaged or another backbone's. MobileNet has ImageNet weights for several image sizes.
    """
    if weights == "none":
        return None
    if weights == "bundled":
        return bundled_file(spec)
    if weights == "imagenet":
        path = next((path for path in cache_paths(spec, image_size) if path.is_file()), None)
        if path:
            check_published(path, spec, image_size)
        return path
    if find_spec(OWN_FILES) is None:
        raise UserError(
            f"--weights was {weights}, and this project was made without weight files of one's own; the template's "
            "tools/new_project.py --with weight-files makes one with them. Give imagenet, bundled or none."
        )
    return resolve_name(f"{OWN_FILES}:own_file")(spec, weights)


def check_weights_option(spec: BackboneSpec, weights: str, image_size: int) -> None:
    """Refuse weights that cannot be used, as far as that can be told before TensorFlow loads."""
    if find_weights(spec, weights, image_size) is None and weights == "imagenet":
        from tlkeras.io.network import check_reachable

        try:
            check_reachable(spec.weights_file(image_size)[1])
        except OSError as error:
            raise cannot_download(spec, image_size, error) from error


def bundled_file(spec: BackboneSpec) -> Path:
    """Return the weights that come with the repository; refuse a file that is missing or was changed."""
    if spec.bundled_hash is None:
        known = ", ".join(other.name for other in BACKBONES.values() if other.bundled_hash)
        raise UserError(
            f"No weights of {spec.name} come with the repository, only of {known}: give that backbone, or weights "
            "imagenet, none or a file."
        )
    path = BUNDLED / f"{spec.name}.weights.h5"
    if not path.is_file() or file_hash(path) != spec.bundled_hash:
        raise UserError(f"{path} is missing or damaged. Get it again from the repository.")
    return path


def cache_paths(spec: BackboneSpec, image_size: int) -> list[Path]:
    """Return where ImageNet weights are looked for; Keras downloads to the last of these paths.

    That is `$KERAS_HOME/models`, else `~/.keras/models`. Where that is read-only Keras uses `/tmp/.keras/models`
    instead; here a file in the first is used all the same.
    """
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    exists = next(folder for folder in (home, *home.absolute().parents) if folder.exists())
    writable = exists.is_dir() and os.access(exists, os.W_OK)
    homes = [home] if writable else [home, Path(tempfile.gettempdir(), ".keras")]
    return [folder / "models" / spec.weights_file(image_size)[0] for folder in homes]


def check_published(path: Path, spec: BackboneSpec, image_size: int) -> None:
    """Refuse a file that is not the ImageNet weights: by its hash or, where Keras has none, by its parameters."""
    if spec.weights_hash is None:
        sizes: list[int] = []
        try:
            with h5py.File(path) as file:
                file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
        except Exception as error:  # of many kinds where a file is damaged
            raise UserError(
                f"{path} cannot be read as a weight file ({first_sentence(error)}). Get it again."
            ) from error
        check_fits(path, spec, [sum(sizes)])
        return
    algorithm = "md5" if len(spec.weights_hash) == 32 else "sha256"
    found = file_hash(path, algorithm)
    if found != spec.weights_hash:
        raise UserError(
            f"{path} is not the ImageNet weight file of {spec.name}: its {algorithm.upper()} is {found} and should "
            f"be {spec.weights_hash}. Replace it by {spec.weights_file(image_size)[1]}, or remove it to download it "
            "again."
        )


def check_fits(path: Path, spec: BackboneSpec, counts: Sequence[int]) -> None:
    """Refuse a file in which no backbone can have as many parameters as this one; `counts` are those it can have."""
    if spec.num_params in counts:
        return
    others = [other.name for other in BACKBONES.values() if other.num_params in counts]
    whose = f"as {' or '.join(others)}" if others else "as no backbone that tlkeras knows"
    found = BACKBONES[others[0]].num_params if others else counts[0]
    raise UserError(
        f"{path} does not fit: it has {found:,} parameters, {whose}, and {spec.name} has {spec.num_params:,} "
        f"(without classifier). Give weights of {spec.name}{f', or backbone {others[0]}' if others else ''}."
    )


def cannot_download(spec: BackboneSpec, image_size: int, reason: Exception) -> UserError:
    """Return the error for ImageNet weights that cannot be downloaded, with what to do."""
    name, url = spec.weights_file(image_size)
    return UserError(
        f"The ImageNet weights of {spec.name} are not in Keras' cache and cannot be downloaded "
        f"({first_sentence(reason)}). Put {name} from {url} into {cache_paths(spec, image_size)[0].parent}, or give a "
        "weight file; --backbone MobileNetV2-0.35 --weights bundled needs no download."
    )
