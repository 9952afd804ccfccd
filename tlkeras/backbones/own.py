"""A Keras model of one's own as a backbone spec."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

from tlkeras.backbones.spec import BackboneSpec, Stage
from tlkeras.errors import UserError


@dataclass(frozen=True)
class OwnModelSpec(BackboneSpec):
    """A model that takes RGB 0–255 and has its own weights; phase 2 unfreezes from a layer, or so many of them."""

    model: Any = field(default=None, compare=False, repr=False)
    layers: tuple[str, ...] = ()  # names, from input to output

    provider: ClassVar[str] = "own"
    builder: ClassVar[str] = "tlkeras.models.own_backbone:build_inputs_and_features"
    named_weights: ClassVar[tuple[str, ...]] = ("own",)

    def starts(self) -> tuple[Stage, ...]:
        """Return each layer as one to unfreeze from."""
        return tuple(Stage(name, name) for name in self.layers)

    def default_unfreeze(self, image_size: int | None) -> str:
        """Return the top, as nothing is known of the images that it was trained on."""
        return self.finetune_from

    def resolve_weights(self, weights: str) -> str:
        """Return "own", the only weights there are; "imagenet", the default, stands for them too."""
        if weights not in ("imagenet", "own"):
            raise UserError(f"--weights was {weights}, but the model given as backbone= has its own; leave it out.")
        return "own"

    def check_weights(self, weights: str, image_size: int) -> None:
        """Do nothing: the model has its weights."""
