"""Find a backbone by its name: in the table, or in a package of `tlkeras.extras`. It loads no TensorFlow."""

import difflib
import importlib
import importlib.util
import pkgutil
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from tlkeras.backbones.spec import BackboneSpec, Stage
from tlkeras.backbones.table import BACKBONES
from tlkeras.errors import UserError

Found = TypeVar("Found")
EXTRAS = "tlkeras.extras"
# What a project may have been made without: by the prefix of a backbone or of data, which is also the part's name.
PARTS = {"hub": "modules of TensorFlow Hub", "kerashub": "encoders of KerasHub", "tfds": "TensorFlow Datasets"}


def get_backbone_spec(backbone: Any) -> BackboneSpec:
    """Return the spec of a backbone: of the table, as `PREFIX:REST` of the package PREFIX, or of a Keras model."""
    if isinstance(backbone, BackboneSpec):
        return backbone
    if not isinstance(backbone, str):
        return pkgutil.resolve_name("tlkeras.models.own_backbone:spec_from_model")(backbone)
    prefix, colon, rest = backbone.partition(":")
    return get_provider(prefix).find_spec(rest) if colon else get_application_spec(backbone)


def get_application_spec(name: str) -> BackboneSpec:
    """Return the spec of a backbone of the table; case, `-`, `_` and `.` do not matter."""
    if ":" in name:
        raise UserError(f"{name} cannot be used here. Give a name from the table that tlkeras summary prints.")
    return _find("backbone", name, BACKBONES, "tlkeras summary lists all.")


def get_provider(name: str) -> ModuleType:
    """Return the package of `tlkeras.extras` that provides the backbones `NAME:…`."""
    known = prefixes()
    if f"{name}:…" not in known:
        raise unknown_prefix("--backbone", f"{name}:…", ["a name that tlkeras summary lists", *known])
    return importlib.import_module(f"{EXTRAS}.{name}")


def unknown_prefix(option: str, given: str, choices: list[str]) -> UserError:
    """Return what to tell the user about a backbone or data `PREFIX:…` that this project cannot find."""
    prefix, last = given.partition(":")[0], " or ".join(choices[-2:])
    reason = f"nothing in this project begins with {prefix}:"
    if prefix in PARTS:
        reason = f"this project was made without {PARTS[prefix]}; the template's tools/new_project.py --with {prefix} "
        reason += "makes one with them"
    return UserError(f"{option} was {given}, but {reason}. Give {', '.join([*choices[:-2], last])}.")


def prefixes() -> list[str]:
    """Return how the names of all backbones that are not in the table begin."""
    return [f"{package.__name__.rpartition('.')[2]}:…" for package in providers()]


def providers() -> list[ModuleType]:
    """Return all packages of `tlkeras.extras`; a project may have none."""
    if importlib.util.find_spec(EXTRAS) is None:
        return []
    paths = importlib.import_module(EXTRAS).__path__
    return [importlib.import_module(f"{EXTRAS}.{module.name}") for module in pkgutil.iter_modules(paths)]


def import_custom_layers(path: Path) -> None:
    """Import the Keras classes of `tlkeras.extras` that a `.keras` file holds, so that Keras can open it."""
    for module in custom_layers(path):
        importlib.import_module(module)


def custom_layers(path: Path) -> list[str]:
    """Return the modules whose Keras classes a `.keras` file holds; refuse those that lack an optional package."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = archive.read("config.json").decode()
    except Exception:  # of many kinds where an archive is damaged; whoever opens it will say so
        return []
    modules = []
    for provider in providers():
        if found := [module for layer, module in provider.LAYERS.items() if f'"{layer}"' in config]:
            provider.check_installed()
            modules += found
    return modules


def find_stage(spec: BackboneSpec, name: str) -> Stage:
    """Return the stage called `name`; case, `-`, `_` and `.` do not matter."""
    known = {stage.name: stage for stage in spec.starts()}
    named = f"{', '.join(list(known)[-30:])}{' and others before them' if len(known) > 30 else ''}"
    return _find(f"{'stage' if spec.stages else 'layer'} of {spec.name}", name, known, f"Known are: {named}.")


def _find(what: str, name: str, known: dict[str, Found], others: str) -> Found:
    for spelling in (str, str.lower, _plain):  # the strictest first: MobileNetV2 has a stage Conv1 and a stage Conv_1
        same = [key for key in known if spelling(key) == spelling(name)]
        if len(same) == 1:
            return known[same[0]]
    plain = {_plain(key): key for key in known}
    close = [plain[match] for match in difflib.get_close_matches(_plain(name), plain, n=3)]
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise UserError(f'There is no {what} called "{name}".{hint} {others}')


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_."))
