"""What a row of the backbone table holds."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tlkeras.config import ModalityName


@dataclass(frozen=True)
class Stage:
    """A place up to which a backbone can be unfrozen: the stage itself and all layers above it.

    Except in NASNet, the layers from here on see the ones below through one tensor only.

    Attributes:
        name: What the user writes, for example `conv5`.
        layer: The first layer of the stage; with `after`, the layer just below it. Never a layer with an automatic name
            such as `conv2d_72`: those depend on what was built earlier in the same process.
        after: The stage starts just above `layer`.
    """

    name: str
    layer: str
    after: bool = False


@dataclass(frozen=True)
class Backbone:
    """One row of the table.

    Attributes:
        name: Name in tlkeras.
        constructor: Attribute of `keras.applications`. Call it without `name=`: ConvNeXt puts the name in front of its
            layers' names, and EfficientNetV2 fails with any but its own.
        arguments: Arguments of the constructor beyond `include_top`, `weights` and `input_shape`.
        pixels: Scaling the ImageNet weights were trained with: "tf" is [-1, 1], "torch" is (x / 255 - mean) / standard
            deviation in RGB, "caffe" is x - mean in BGR, "unit" is [0, 1], "inside" means that the network scales 0-255
            itself; empty while a hub module has not been asked.
        default_size: Side of the square images of the ImageNet training, or Keras' default, in pixels; 0 for texts; for
            sounds the number of samples that a module takes, or 0 where it takes any.
        least_size: Least side in pixels that Keras builds without the classifier.
        features: Channels of the output.
        parameters: Weights of the network without classifier, moving statistics included.
        stages: From input to output.
        finetune_from: Stage that the second phase unfreezes by default: where the last resolution (stride 32) starts.
        weights_url: ImageNet weights without classifier; `{size}` stands for one of `weights_sizes`.
        weights_hash: MD5 (32 digits) or SHA-256 (64 digits) of that file; None where Keras does not check it.
        weights_sizes: Image sizes that have a weight file of their own; other sizes use 224.
        weights_name: File name in Keras' cache where it is not the one of the URL.
        bundled_hash: SHA-256 of `NAME.weights.h5` among the weights that come with the repository, in `bundled`; None
            where there are none.
        handle: Of a TensorFlow Hub module, which is no row of the table; see `tlkeras.extras.hub.spec`.
        module: The folder of that module, once it was looked at.
        digest: SHA-256 of what is in it, without its weights.
        greatest_size: Greatest side in pixels, or number of samples, where a module takes one size only.
        form: What it takes; empty while a hub module has not been asked.
        preset: Of a text encoder of KerasHub, which is no row of the table; see `tlkeras.extras.kerashub.presets`.
    """

    name: str
    constructor: str
    pixels: Literal["caffe", "tf", "torch", "unit", "inside", ""]
    default_size: int
    min_size: int
    features: int
    parameters: int
    stages: tuple[Stage, ...]
    finetune_from: str
    weights_url: str
    weights_hash: str | None
    weights_sizes: tuple[int, ...] = ()
    weights_name: str | None = None
    arguments: dict[str, float] = field(default_factory=dict, hash=False)
    bundled_hash: str | None = None
    handle: str | None = None
    module: Path | None = None
    digest: str | None = None
    max_size: int | None = None
    form: ModalityName | Literal[""] = "pictures"
    preset: str | None = None

    def weights_file(self, image_size: int) -> tuple[str, str]:
        """The name in Keras' cache and the URL of the ImageNet weights for images of `image_size` pixels a side."""
        url = self.weights_url.format(size=image_size if image_size in self.weights_sizes else 224)
        return self.weights_name or url.rpartition("/")[2], url


# What all TensorFlow Hub modules have in common; the name is the one of the nested model, by which it is found again.
HUB = Backbone(
    name="hub_module", constructor="", pixels="", default_size=0, min_size=0, features=0, parameters=0,
    stages=(Stage("module", "module"),), finetune_from="module", weights_url="", weights_hash=None,
    form="",
)  # fmt: skip
