"""Every option of a training run, typed, with its default, its range and its help text.

The groups below are dataclasses of their own so that a library function asks only for what it uses; `TrainConfig`
inherits them all and is flat, so an option has one name on the command line, in `config.yaml` and in Python.
"""

import importlib.util
from dataclasses import dataclass, replace
from typing import Literal, Self

from tlkeras.config.fields import check_values, option
from tlkeras.errors import UserError

# The digits are nothing like the photographs that the repository's weights know, so all layers learn, and fast.
DIGITS_DEFAULTS = {
    "data": "digits",
    "backbone": "MobileNetV2-0.35",
    "weights": "bundled",
    "image_size": 64,
    "flip": "none",
    "frozen_epochs": 3,
    "finetune_epochs": 12,
    "unfreeze": "all",
    "finetune_rate": 1e-3,
    "stage_decay": 1.0,
}
# Any other backbone learns the digits from random weights, at a size and at rates of its own.
OTHER_BACKBONE = {"weights": "none", "image_size": None, "unfreeze": None, "finetune_rate": None, "stage_decay": None}
SECONDS = (0.01, 600.0)  # least and greatest length of sounds


@dataclass(kw_only=True)
class MemoryOptions:
    """What may lie in memory."""

    memory_gb: float | None = option(
        None,
        "gigabytes of memory that the examples may take, and the features again; more goes to disk (default: a quarter "
        "of the machine's memory)",
        0.0,
        1e6,
    )


@dataclass(kw_only=True)
class CacheOptions(MemoryOptions):
    """How features are computed and kept."""

    cache_gb: float = option(
        10.0,
        "gigabytes of disk for features that are kept for the next run, see scripts/cache.py; 0 keeps none",
        0.0,
        1e6,
    )
    feature_dtype: Literal["float32", "float16"] = option("float32", "of the features; float16 takes half the room")
    engine: Literal["tensorflow", "openvino", "openvino_bf16"] = option(
        "tensorflow", "what computes the features; openvino needs 'pip install openvino'", form="pictures"
    )


@dataclass(kw_only=True)
class DataOptions(MemoryOptions):
    """Which pictures, texts or sounds, and how they are split."""

    data: str = option(
        "digits",
        "folder of class folders, folder with train/validation/test, CSV of path,label or text,label, tfds:NAME, or "
        "digits: a small set that needs no download and brings defaults of its own",
    )
    data_dir: str | None = option(
        None, "folder in which TensorFlow Datasets keeps its data sets (default: $TFDS_DATA_DIR, ~/tensorflow_datasets)"
    )
    task: Literal["auto", "single_label", "multi_label", "regression"] = option(
        "auto", "what a label is: one class of many, several classes at once, or a number; auto reads it off the data"
    )
    validation_split: float = option(0.15, "share of the examples that chooses the epoch", 0.01, 0.8)
    test_split: float = option(0.15, "share of the examples that is judged once, at the end", 0.01, 0.8)
    max_unreadable: float = option(0.1, "share of unreadable files above which the run stops", 0.0, 1.0)
    sample_rate: int | None = option(
        None, "samples a second that sounds are brought to, as the module knows them (default: 16000)", 1000, 192000,
        form="sounds",
    )  # fmt: skip
    seconds: float | None = option(
        None, "length that sounds are cut or padded to (default: the module's, else the usual one, at most 10)",
        *SECONDS, form="sounds",
    )  # fmt: skip

    def check_data(self) -> None:
        """Refuse a place of data sets where none is asked for, and shares that leave too little to learn from.

        Raises:
            UserError: one of them was given.
        """
        if self.validation_split + self.test_split > 0.9:
            raise UserError(
                f"--validation-split {self.validation_split} and --test-split {self.test_split} leave less than a "
                "tenth of the examples for training; lower them."
            )
        if self.data_dir is not None and not self.data.startswith("tfds:"):
            raise UserError(
                f"--data-dir {self.data_dir} says where TensorFlow Datasets keeps its data sets, but --data is "
                f"{self.data}. Give --data tfds:NAME, or --data {self.data_dir} if it is a folder of pictures."
            )


@dataclass(kw_only=True)
class ModelOptions:
    """Which backbone, and the head on top of it."""

    backbone: str = option(
        "MobileNetV2",
        "a name of the table that scripts/summary.py prints, or hub: and a URL, folder or archive, or, for "
        "texts, kerashub: and a preset, its folder, or a size such as bert_tiny",
    )
    weights: str = option(
        "imagenet",
        "imagenet, bundled (in the repository, of MobileNetV2-0.35 alone), none (random), or a file: .h5, .weights.h5, "
        ".keras",
    )
    image_size: int | None = option(
        None, "pixels a side that the backbone sees (default: the backbone's own)", 1, 4096, form="pictures"
    )
    pooling: Literal["avg", "max", "both"] = option("avg", "how the feature map becomes one vector")
    hidden_units: list[int] = option([], "units of hidden dense layers between features and output, e.g. [256]", 1)
    dropout: float = option(0.2, "dropout rate in front of each dense layer", 0.0, 0.95)
    l2: float = option(0.0, "L2 penalty on the kernels of the head", 0.0, 10.0)
    sequence_length: int | None = option(
        None,
        "length of the texts that an encoder of KerasHub sees (default: what 95 % of them need, at most 128)",
        4,
        8192,
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = option("float32", "arithmetic of the layers")
    pixel_range: Literal["auto", "0..1", "-1..1", "0..255"] = option(
        "auto", "of the pixels that a hub module takes; auto: 0..1, or 0..255 where the module says so", form="pictures"
    )


@dataclass(kw_only=True)
class AugmentOptions:
    """What is done at random to training pictures; validation and test stay as they are."""

    flip: Literal["none", "horizontal", "both"] = option("horizontal", "mirror: left-right, or up-down as well")
    min_crop_area: float = option(0.7, "least share of the area that a random crop keeps; 1 is no cropping", 0.05, 1.0)
    rotation: float = option(0.0, "greatest rotation in degrees, either way", 0.0, 180.0)
    color_jitter: float = option(0.2, "greatest relative change of brightness, contrast and saturation", 0.0, 0.9)
    mixup: float = option(0.0, "alpha of MixUp's Beta distribution; 0 is off", 0.0, 10.0)
    cutmix: float = option(0.0, "alpha of CutMix's Beta distribution; 0 is off", 0.0, 10.0)

    def changes_images(self) -> bool:
        """Whether any of the changes to a single picture is on."""
        return self.flip != "none" or self.crop < 1 or self.rotation > 0 or self.colour > 0


@dataclass(kw_only=True)
class TrainingOptions(AugmentOptions, CacheOptions):
    """The two phases."""

    batch_size: int = option(32, "examples in a step", 1, 65536)
    frozen_epochs: int = option(10, "epochs of phase 1, in which only the head learns", 1, 10000)
    finetune_epochs: int = option(
        10, "epochs of phase 2, with the top of the backbone unfrozen; 0 leaves it out", 0, 10000
    )
    unfreeze: str | None = option(
        None,
        "what phase 2 unfreezes: a stage and all above it, a number of layers, a share (30%), all, or none "
        "(default: the backbone's last stage, see scripts/summary.py; all from random weights)",
    )
    views: int = option(
        4, "augmented views of each picture that go once through the frozen part and are kept; 0 keeps nothing", 0, 1000
    )
    optimizer: Literal["adam", "adamw", "sgd"] = option("adamw", "optimizer of both phases")
    head_learning_rate: float | None = option(
        None, "greatest learning rate of phase 1 (default: 1e-3, from random weights 1e-2)", 1e-9, 10.0
    )
    finetune_learning_rate: float | None = option(
        None, "greatest learning rate of phase 2 (default: 1e-4, from random weights 5e-4)", 1e-9, 10.0
    )
    schedule: Literal["cosine", "constant"] = option("cosine", "how the rate falls after the warm-up")
    warmup: float = option(0.1, "share of a phase in which the rate climbs from zero", 0.0, 0.9)
    layer_decay: float | None = option(
        None, "factor on the rate for each stage further from the head (default: 0.8, from random weights 1)", 0.01, 1.0
    )
    weight_decay: float = option(1e-4, "decoupled weight decay; adam goes without", 0.0, 1.0)
    label_smoothing: float = option(0.0, "share of each label spread over all classes", 0.0, 0.5)
    class_weights: Literal["none", "balanced"] = option("none", "balanced: rare classes count for more")
    patience: int = option(10, "epochs without a better validation result after which a phase ends", 1, 10000)
    seed: int = option(0, "of the split, the head's first weights, the order and the augmentation", 0, 2**31 - 1)

    def with_defaults(self, finetune_from: str, pretrained: bool = True) -> Self:
        """A copy in which no rate and no stage is None.

        Pretrained weights are changed with care: the top only, slowly, earlier stages slower still. Random weights
        hold nothing worth keeping, so all of them learn, at a normal rate.

        Args:
            finetune_from: the stage from which the backbone is unfrozen by default.
            pretrained: whether the backbone knows something already.
        """
        defaults = {
            "unfreeze": finetune_from if pretrained else "all",
            "frozen_rate": 1e-3 if pretrained else 1e-2,
            "finetune_rate": 1e-4 if pretrained else 5e-4,
            "stage_decay": 0.8 if pretrained else 1.0,
        }
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})


@dataclass(kw_only=True)
class RunOptions:
    """Where the run goes."""

    run_dir: str | None = option(None, "folder that the run is written to (default: a new one in saved_models/)")
    overwrite: bool = option(False, "replace the run folder if it exists")
    resume: bool = option(False, "go on with the run that this command began and did not finish, where there is one")

    def check_run(self) -> None:
        """Refuse options that contradict each other.

        Raises:
            UserError: both were given.
        """
        if self.overwrite and self.resume:
            raise UserError("Both --overwrite and --resume were given; begin anew, or go on: give one of them.")


@dataclass(kw_only=True)
class TrainConfig(RunOptions, TrainingOptions, ModelOptions, DataOptions):
    """All options of `scripts/train.py`."""

    def check(self) -> None:
        """Refuse values that are no good and options that contradict each other; `task` may be known by now.

        Raises:
            UserError: a sentence about the first one found.
        """
        check_values(self)
        self.check_run()
        if self.engine.startswith("openvino") and importlib.util.find_spec("openvino") is None:
            raise UserError(f"--engine {self.engine} needs OpenVINO, which is not installed: pip install openvino.")
        if self.backbone.startswith("hub:") and self.weights not in ("imagenet", "module"):
            raise UserError(f"--weights was {self.weights}, but a hub module brings its own; leave the option out.")
        encoder = self.backbone.startswith("kerashub:")
        if self.tokens is not None and not encoder:
            raise UserError(f"--sequence-length was {self.tokens}, but {self.backbone} is no encoder of KerasHub; leave it out.")
        if not self.data:
            raise UserError("--data was empty; give a folder, a CSV file, tfds:NAME or digits.")
        self.check_data()
        if self.task == "regression" and (self.label_smoothing or self.class_weights != "none"):
            raise UserError("--label-smoothing and --class-weights need classes; the task is regression.")
