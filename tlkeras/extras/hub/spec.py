"""A TensorFlow Hub module as a row like those of the backbone table, so that all else treats it as one of them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlkeras.backbones import HUB, Backbone, get_backbone_spec
from tlkeras.errors import UserError
from tlkeras.extras.kerashub.presets import find_encoder, preset_of, read_encoder
from tlkeras.extras.hub.handles import PREFIX, check_handle, digest_module, fetch, handle_of
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    from tlkeras.extras.hub.module import Module

PIXELS = {"auto": "", "0..1": "unit", "-1..1": "tf", "0..255": "inside"}
USUAL_SIZE = 224  # pixels a side, where a module takes any


def resolve_spec(name: str | Backbone, pixel_range: str = "auto") -> Backbone:
    """The row of a backbone, as far as it can be told without TensorFlow.

    Args:
        name: of the table; or `hub:HANDLE`; or `kerashub:PRESET`; or a row, which comes back as it is.
        pixel_range: what a module takes: "0..1", "-1..1", "0..255", or "auto"; see `read_module`.

    Raises:
        UserError: there is no such backbone or module; or a range was given for a backbone of the table.
    """
    handle = handle_of(name) if isinstance(name, str) else None
    if handle is None:
        spec = find_spec_by_name(name) if isinstance(name, str) else name
        if pixel_range != "auto" and not spec.handle:
            raise UserError(f"--pixel-range was {pixel_range}, but {spec.name} has its own; it is for hub modules only.")
        return spec
    check_handle(handle)
    return dataclasses.replace(HUB, name=f"{PREFIX}{handle}", handle=handle, pixels=PIXELS[pixel_range])


def find_spec_by_name(name: str) -> Backbone:
    """The row of the table, or of an encoder."""
    preset = preset_of(name)
    return get_backbone_spec(name) if preset is None else find_encoder(preset)


def load_module_spec(spec: Backbone) -> Backbone:
    """Fill in what only a module itself can tell: download it where need be, load TensorFlow, and look.

    The range of pixels, where it is not given, is 0 to 255 if the module takes uint8 or begins with a layer that scales
    pixels, else 0 to 1, as https://www.tensorflow.org/hub/common_signatures/images has it.

    Args:
        row: of `find_row`; one of the table comes back as it is.

    Raises:
        UserError: the module cannot be had, takes neither square RGB pictures nor texts nor sounds, or has no pixels
            and a range of them was given.
    """
    if spec.preset:
        return read_encoder(spec)
    if not spec.handle or spec.module:
        return spec
    folder = fetch(spec.handle)
    load_tensorflow()
    from tlkeras.extras.hub.module import open_module

    module = open_module(folder)
    return dataclasses.replace(
        spec,
        **about(spec, module, folder),
        parameters=sum(variable.shape.num_elements() for variable in module.variables),
        module=folder,
        digest=digest_module(folder),
    )


def about(spec: Backbone, module: "Module", folder: Path) -> dict[str, Any]:
    """What a row says of what a module takes: its form, and its size.

    Args:
        row: as far as it is known; a range of pixels that it has is kept.
        module: the module, loaded.
        folder: where it lies.

    Raises:
        UserError: it takes something else; or a range of pixels was given that it does not take.
    """
    spec = module.spec
    if spec.dtype != "string" and not (spec.dtype.is_floating and spec.shape.rank == 2):
        return about_pictures(spec, module, folder)
    form = "texts" if spec.dtype == "string" else "sounds"
    if spec.pixels:
        raise UserError(f"--pixel-range was given, but {spec.name} takes {form}; leave it out.")
    if spec.shape.rank != (1 if form == "texts" else 2) or spec.shape[0] is not None:
        raise UserError(
            f"{spec.name} takes {form} of shape {spec.shape}; a backbone takes any number of them, (None,) for texts, "
            "(None, samples) for sounds."
        )
    size = None if form == "texts" else spec.shape[1]
    return {"form": form, "default_size": size or 0, "greatest_size": size}


def about_pictures(spec: Backbone, module: "Module", folder: Path) -> dict[str, Any]:
    """What a row says of a module for pictures: their size, and the range of pixels.

    Args:
        row: as far as it is known; a range that it has is kept.
        module: the module, loaded.
        folder: where it lies.

    Raises:
        UserError: it takes something else, or another range.
    """
    size = image_side(module, spec.name)
    if module.spec.dtype.is_integer and spec.pixels not in ("", "inside"):
        raise UserError(f"{spec.name} takes whole numbers, so its pixels are 0..255; leave --pixel-range out.")
    return {
        "form": "pictures", "pixels": spec.pixels or pixels_of(module, folder), "default_size": size or USUAL_SIZE,
        "least_size": size or 1, "greatest_size": size,
    }  # fmt: skip


def image_side(module: "Module", name: str) -> int | None:
    """Pixels a side that a module takes; None where it takes any.

    Raises:
        UserError: it does not take square RGB pictures.
    """
    shape = module.spec.shape
    if shape.rank != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise UserError(
            f"{name} takes {module.spec.dtype.name} of shape {shape}; a backbone takes square RGB pictures, "
            "(None, S, S, 3), texts, strings of shape (None,), or sounds, (None,) or (None, samples)."
        )
    if shape[0] is not None:
        raise UserError(f"{name} takes {shape[0]} pictures at a time; a backbone must take any number of them.")
    return shape[1]


def pixels_of(module: "Module", folder: Path) -> str:
    """The range of pixels that a module says it takes, in the words of the table."""
    from tlkeras.extras.hub.module import scales_inside

    return "inside" if module.spec.dtype == "uint8" or scales_inside(folder) else "unit"
