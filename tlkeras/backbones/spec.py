"""What a backbone is: one spec, which answers every question that depends on the kind of backbone."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Self

from tlkeras.errors import UserError


@dataclass(frozen=True)
class Stage:
    """A stage from which a backbone can be unfrozen: the stage itself and all layers above it.

    Except in NASNet, the layers from here on see the ones below through one tensor only. `first_layer` never has an
    automatic name such as `conv2d_72`, which depends on what was built earlier in the same process.
    """

    name: str  # what the user writes, for example `conv5`
    first_layer: str
    after: bool = False  # the stage starts just above `first_layer`


@dataclass(frozen=True)
class BackboneSpec:
    """A backbone of Keras Applications; backbones from elsewhere are subclasses in `tlkeras.extras`.

    `preprocess_mode` is the scaling that the ImageNet weights were trained with: "tf" is [-1, 1], "torch" is (x / 255 -
    mean) / std in RGB, "caffe" is x - mean in BGR, "unit" is [0, 1], "inside" means that the network scales 0–255
    itself; it is empty while that is not known.
    """

    name: str
    constructor: str  # attribute of `keras.applications`
    preprocess_mode: Literal["caffe", "tf", "torch", "unit", "inside", ""]
    default_size: int  # side of the square images of the ImageNet training, or Keras' default, in pixels
    min_size: int  # minimum side in pixels that Keras builds without the classifier
    num_features: int  # channels of the output
    num_params: int  # of the network without classifier, moving statistics included
    stages: tuple[Stage, ...]  # from input to output
    finetune_from: str  # stage from which phase 2 unfreezes the top: where the last resolution (stride 32) starts
    weights_url: str  # ImageNet weights without classifier; `{size}` stands for one of `weights_sizes`
    weights_hash: str | None  # MD5 (32 digits) or SHA-256 (64 digits) of that file; None where Keras has none
    weights_sizes: tuple[int, ...] = ()  # image sizes that have a weight file of their own; other sizes use 224
    weights_name: str | None = None  # file name in Keras' cache where it is not the one of the URL
    constructor_args: dict[str, float] = field(default_factory=dict, hash=False)
    bundled_hash: str | None = None  # SHA-256 of `NAME.weights.h5` in `backbones/bundled`, if it is there
    max_size: int | None = None  # maximum side in pixels, if there is one
    modality: str | None = "image"  # name of what it takes; None while that is not known
    digest: str | None = None  # SHA-256 of whatever defines the network beyond its name; none of Keras Applications

    provider: ClassVar[str] = "applications"
    own_options: ClassVar[tuple[str, ...]] = ()  # config fields that are for this provider alone
    builder: ClassVar[str] = "tlkeras.models.backbone:build_inputs_and_features"
    can_build_untrained: ClassVar[bool] = True  # without data, for its table of layers
    can_build_elsewhere: ClassVar[bool] = True  # by Keras alone, from a config and weights
    untrained_weights: ClassVar[str] = "none"  # the cheapest that there are
    named_weights: ClassVar[tuple[str, ...]] = ("imagenet", "none")  # values of `weights` that name no file

    def weights_file(self, image_size: int) -> tuple[str, str]:
        """Return the name in Keras' cache and the URL of the ImageNet weights for images of `image_size` pixels."""
        url = self.weights_url.format(size=image_size if image_size in self.weights_sizes else 224)
        return self.weights_name or url.rpartition("/")[2], url

    def default_unfreeze(self, image_size: int | None) -> str:
        """Return what phase 2 unfreezes by default: the top; all layers at half its own image size or less.

        What the early layers look for has another size there (measured: `benchmarks/README.md`, defaults).
        """
        return "all" if image_size and 2 * image_size <= self.default_size else self.finetune_from

    def starts(self) -> tuple[Stage, ...]:
        """Return from where it can be unfrozen by name."""
        return self.stages

    def configure(self, **options: Any) -> Self:
        """Return the spec with `own_options` applied; refuse options that are not for this backbone."""
        for name in options:
            if name not in self.own_options:
                raise UserError(f"{name} was {options[name]}, but {self.name} has no such option; leave it out.")
        return self

    def resolve_weights(self, weights: str) -> str:
        """Return what `weights` stands for with this backbone."""
        return weights

    def check(self, weights: str, image_size: int | None) -> None:
        """Refuse options that can be refused before any file is opened."""
        check_image_size(self, image_size)

    def resolve(self) -> Self:
        """Return the spec with all that only the backbone itself can tell; may download and load TensorFlow."""
        return self

    def check_weights(self, weights: str, image_size: int) -> None:
        """Refuse weights that cannot be had or do not fit, before TensorFlow loads."""
        from tlkeras.backbones.weights import check_weights_option  # which knows the table

        check_weights_option(self, weights, image_size)

    def adapt_to(self, inputs: Callable[[], Any]) -> Self:
        """Return the spec with what it takes from the decoded training inputs, if anything."""
        return self


def check_image_size(spec: BackboneSpec, image_size: int | None) -> int:
    """Return the size to build with in pixels, the backbone's own where None is given; refuse what it cannot take."""
    size = spec.default_size if image_size is None else image_size
    if size < spec.min_size:
        raise UserError(f"--image-size was {size}; {spec.name} needs at least {spec.min_size} pixels.")
    if spec.max_size and size > spec.max_size:
        raise UserError(f"--image-size was {size}; {spec.name} takes {spec.max_size} pixels, no more.")
    return size
