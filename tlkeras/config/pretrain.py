"""Options of training all layers of a backbone."""

from dataclasses import dataclass
from typing import Literal

from tlkeras.config.fields import check_values, option
from tlkeras.config.train import AugmentOptions, DataOptions, RunOptions
from tlkeras.errors import UserError


@dataclass(kw_only=True)
class AllLayersOptions(AugmentOptions):
    """Training of all layers at once."""

    min_crop_area: float = option(0.25, "least share of the area that a random crop keeps; 1 is no cropping", 0.05, 1.0)
    color_jitter: float = option(0.4, "greatest relative change of brightness, contrast and saturation", 0.0, 0.9)
    epochs: int = option(100, "rounds through the pictures", 1, 100000)
    batch_size: int = option(128, "pictures in a step", 1, 65536)
    learning_rate: float = option(2e-3, "greatest learning rate, of AdamW", 1e-9, 10.0)
    warmup: float = option(0.05, "share of the steps in which the rate climbs from zero; a cosine follows", 0.0, 0.9)
    weight_decay: float = option(0.05, "decoupled weight decay; not on biases and BatchNormalization", 0.0, 1.0)
    label_smoothing: float = option(0.1, "share of each label spread over all classes", 0.0, 0.5)
    ema: float = option(
        0.02, "share of the steps that the running average of the weights, which is what is kept, looks back; 0 is off",
        0.0, 1.0,
    )  # fmt: skip
    seed: int = option(0, "of the split, the first weights, the order and the augmentation", 0, 2**31 - 1)


@dataclass(kw_only=True)
class PretrainConfig(RunOptions, AllLayersOptions, DataOptions):
    """All options of `scripts/pretrain.py`."""

    data: str = option(
        "", "the source: folder of class folders, folder with train/validation/test, CSV of path,label, or tfds:NAME"
    )
    validation_split: float = option(0.1, "share of the pictures that each epoch is judged on", 0.01, 0.8)
    test_split: float = option(0.05, "share of the pictures that is judged once, at the end", 0.01, 0.8)
    backbone: str = option("MobileNetV2-0.35", "a name from the table that scripts/summary.py prints")
    weights: str = option(
        "none", "first weights of the backbone: none (random), imagenet, bundled, or a file: .h5, .weights.h5, .keras"
    )
    image_size: int | None = option(None, "pixels a side that the backbone sees (default: the backbone's own)", 1, 4096)
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = option("float32", "arithmetic of the layers")
    data_description: str = option("", "what the data are, where they come from and under which terms, for the card")

    def check(self) -> None:
        """Refuse values that are no good.

        Raises:
            UserError: a sentence about the first one found.
        """
        check_values(self)
        self.check_run()
        if not self.data:
            raise UserError("Nothing was given for --data: a folder of class folders, a CSV file or tfds:NAME.")
        self.check_data()
        if self.task == "regression":
            raise UserError("The task was regression; a backbone is pretrained on classes.")
