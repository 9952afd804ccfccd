"""Options of training all layers of a backbone."""

from dataclasses import dataclass
from typing import Literal

from tlkeras.config.data import DataOptions
from tlkeras.config.fields import check_values, option
from tlkeras.config.run import RunOptions
from tlkeras.config.train import AugmentOptions
from tlkeras.errors import UserError


@dataclass(kw_only=True, repr=False)
class AllLayersOptions(AugmentOptions):
    """Training of all layers."""

    min_crop_area: float = option(
        0.25, "minimum fraction of the area that a random crop keeps; 1 is no crop", 0.05, 1.0
    )
    color_jitter: float = option(0.4, "maximum relative change of brightness, contrast and saturation", 0.0, 0.9)
    epochs: int = option(100, "passes over the training images", 1, 100000)
    batch_size: int = option(128, "images per step", 1, 65536)
    learning_rate: float = option(2e-3, "maximum learning rate of AdamW", 1e-9, 10.0)
    warmup: float = option(0.05, "fraction of the steps in which the learning rate rises; a cosine follows", 0.0, 0.9)
    weight_decay: float = option(0.05, "decoupled weight decay; not on biases and BatchNormalization", 0.0, 1.0)
    label_smoothing: float = option(0.1, "fraction of each label spread over all classes", 0.0, 0.5)
    ema: float = option(
        0.02, "fraction of the steps that the moving average of the weights, which is kept, goes back; 0 is off",
        0.0, 1.0,
    )  # fmt: skip
    seed: int = option(0, "of the split, the initial weights, the order and the augmentation", 0, 2**31 - 1)


@dataclass(kw_only=True, repr=False)
class PretrainConfig(RunOptions, AllLayersOptions, DataOptions):
    """All options of `scripts/pretrain.py`."""

    data: str = option(
        "", "source dataset: folder with one subfolder per class or with train/validation/test, CSV of path,label, "
        "or tfds:NAME",
    )  # fmt: skip
    validation_split: float = option(0.1, "fraction of the images on which each epoch is evaluated", 0.01, 0.8)
    test_split: float = option(0.05, "fraction of the images that is evaluated once, at the end", 0.01, 0.8)
    backbone: str = option("MobileNetV2-0.35", "a name from the table that scripts/summary.py prints")
    weights: str = option(
        "none", "initial weights of the backbone: none (random), imagenet, bundled, or a file: .h5, .weights.h5, .keras"
    )
    image_size: int | None = option(
        None, "size in pixels that the backbone sees (default: the backbone's own)", 1, 4096
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = option("float32", "dtype policy of the layers")
    # [part: devices]
    devices: Literal["auto"] | int = option(
        "auto", "GPUs that train together, each on its part of every batch; auto: all that TensorFlow can use", 1, 64
    )
    # [/part]
    data_description: str = option("", "what the data are, where they come from, their license: for the model card")

    def check(self) -> None:
        """Refuse values that are not valid."""
        check_values(self)
        self.check_run()
        self.check_data()
        # [part: choose]
        if self.resize == "auto":
            raise UserError("--resize was auto, which asks pretrained weights; give crop, pad or squash.")
        # [/part]
        if self.task == "regression":
            raise UserError("The task was regression; a backbone is pretrained on classes.")
