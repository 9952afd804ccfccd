"""A TensorFlow Hub module as a backbone spec. Nothing here loads TensorFlow until a module is resolved."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from tlkeras.backbones.spec import BackboneSpec, Stage, check_image_size
from tlkeras.config.fields import check_values
from tlkeras.config.train import ModelOptions
from tlkeras.errors import UserError
from tlkeras.extras.hub.handles import PREFIX, check_handle, digest_module, fetch
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    from tlkeras.extras.hub.module import Module

PixelRange = Literal["auto", "0..1", "-1..1", "0..255"]
Mode = Literal["unit", "tf", "inside"]
PREPROCESS_MODES: dict[PixelRange, Mode] = {"0..1": "unit", "-1..1": "tf", "0..255": "inside"}
DEFAULT_SIZE = 224  # in pixels, where a module takes images of any size
MODEL_NAME = "hub_module"  # of the nested model
STAGE, INPUT = "module", "inputs"  # names of the layer in it and of its input


@dataclass(frozen=True)
class HubSpec(BackboneSpec):
    """A TensorFlow Hub module; `max_size` is the number of samples where it takes audio of one length only."""

    handle: str = ""  # a URL, a folder or an archive
    folder: Path | None = None  # None until it is resolved

    provider: ClassVar[str] = "hub"
    own_options: ClassVar[tuple[str, ...]] = ("pixel_range",)
    builder: ClassVar[str] = "tlkeras.extras.hub.layer:build_inputs_and_features"
    can_build_elsewhere: ClassVar[bool] = False
    untrained_weights: ClassVar[str] = "module"
    named_weights: ClassVar[tuple[str, ...]] = ("module",)

    def configure(self, pixel_range: PixelRange = "auto", **options: Any) -> Self:
        """Return the spec with the pixel range that the module takes."""
        super().configure(**options)
        check_values(ModelOptions(pixel_range=pixel_range))
        if pixel_range == "auto":
            return self
        return dataclasses.replace(self, preprocess_mode=PREPROCESS_MODES[pixel_range], folder=None)

    def resolve_weights(self, weights: str) -> str:
        """Return "module", the only weights there are; "imagenet", the default, stands for them too."""
        if weights not in ("imagenet", "module"):
            raise UserError(f"--weights was {weights}, but {self.name} has its own; leave it out.")
        return "module"

    def check(self, weights: str, image_size: int | None) -> None:
        """Refuse other weights than the module's, and an image size that it does not take."""
        self.resolve_weights(weights)
        if self.modality in ("image", None):
            check_image_size(self, image_size)
        elif image_size is not None:
            raise UserError(f"--image-size was {image_size}, but {self.name} takes {self.modality}; leave it out.")

    def check_weights(self, weights: str, image_size: int) -> None:
        """Do nothing: the weights are part of the module, which is resolved."""

    def resolve(self) -> Self:
        """Return the spec with what only the module can tell: download it if necessary, load TensorFlow, and look.

        The pixel range, where it is not given, is 0 to 255 if the module takes uint8 or starts with a layer that scales
        pixels, else 0 to 1, as https://www.tensorflow.org/hub/common_signatures/images has it.
        """
        if self.folder:
            return self
        folder = fetch(self.handle)
        load_tensorflow()
        from tlkeras.extras.hub.module import open_module

        module = open_module(folder)
        return dataclasses.replace(
            self,
            **input_fields(self, module, folder),
            num_params=sum(variable.shape.num_elements() for variable in module.variables),
            folder=folder,
            digest=digest_module(folder),
        )


def find_spec(handle: str) -> HubSpec:
    """Return the spec of a module as far as it is known without TensorFlow."""
    check_handle(handle)
    return module_spec(f"{PREFIX}{handle}", handle)


def module_spec(name: str, handle: str = "") -> HubSpec:
    """Return a spec with what all modules have in common."""
    return HubSpec(
        name=name, constructor="", preprocess_mode="", default_size=0, min_size=0, num_features=0, num_params=0,
        stages=(Stage(STAGE, INPUT),), finetune_from=STAGE, weights_url="", weights_hash=None, modality=None,
        handle=handle,
    )  # fmt: skip


def input_fields(spec: HubSpec, module: "Module", folder: Path) -> dict[str, Any]:
    """Return the fields of a spec that say what a module takes: modality, size, pixel range."""
    inputs = module.spec
    if inputs.dtype != "string" and not (inputs.dtype.is_floating and inputs.shape.rank == 2):
        return image_fields(spec, module, folder)
    modality = "text" if inputs.dtype == "string" else "audio"
    if spec.preprocess_mode:
        raise UserError(f"--pixel-range was given, but {spec.name} takes {modality}; leave it out.")
    if inputs.shape.rank != (1 if modality == "text" else 2) or inputs.shape[0] is not None:
        raise UserError(
            f"{spec.name} takes {modality} of shape {inputs.shape}; a backbone takes batches of any size, (None,) for "
            "text, (None, samples) for audio."
        )
    size = None if modality == "text" else inputs.shape[1]
    return {"modality": modality, "default_size": size or 0, "max_size": size}


def image_fields(spec: HubSpec, module: "Module", folder: Path) -> dict[str, Any]:
    """Return the fields of a spec for a module that takes images; a pixel range that was given is kept."""
    from tlkeras.extras.hub.module import rescales_pixels

    shape, dtype = module.spec.shape, module.spec.dtype
    if shape.rank != 4 or shape[3] != 3 or shape[1] != shape[2]:
        raise UserError(
            f"{spec.name} takes {dtype.name} of shape {shape}; a backbone takes square RGB images, "
            "(None, S, S, 3), text, strings of shape (None,), or audio, (None,) or (None, samples)."
        )
    if shape[0] is not None:
        raise UserError(f"{spec.name} takes {shape[0]} images at a time; a backbone must take batches of any size.")
    if dtype.is_integer and spec.preprocess_mode not in ("", "inside"):
        raise UserError(f"{spec.name} takes whole numbers, so its pixel range is 0..255; leave --pixel-range out.")
    own_mode: Mode = "inside" if dtype == "uint8" or rescales_pixels(folder) else "unit"
    size = shape[1]  # None where it takes images of any size
    return {
        "modality": "image", "preprocess_mode": spec.preprocess_mode or own_mode,
        "default_size": size or DEFAULT_SIZE, "min_size": size or 1, "max_size": size,
    }  # fmt: skip
