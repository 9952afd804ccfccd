"""The options of a training run, typed, each with its default, its range and its help text.

The groups are dataclasses of their own so that a library function asks only for what it uses; `TrainConfig` inherits
them all and is flat, so an option has one name on the command line, in `config.yaml` and in Python.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import Any, Literal, Self

from tlkeras.config.data import CacheOptions, DataOptions
from tlkeras.config.fields import Options, check_values, option
from tlkeras.config.run import EvaluationOptions, RunOptions
from tlkeras.errors import UserError

# At least, as few examples need more epochs to change anything: of phase 2, and without a better validation result.
FINETUNE_EPOCHS, FINETUNE_STEPS = 10, 300
PATIENCE_EPOCHS, PATIENCE_STEPS = 5, 50


@dataclass(kw_only=True, repr=False)
class ModelOptions(Options):
    """Backbone and head."""

    backbone: str = option(
        "MobileNetV2",
        "a name from the table that scripts/summary.py prints"
        # [part: hub]
        ", or hub:URL, hub:FOLDER"
        # [/part]
        # [part: kerashub]
        ", or kerashub:PRESET"
        # [/part]
        "",  # so that this stays valid without the parts
    )  # fmt: skip
    weights: str = option(
        "imagenet", "imagenet, bundled (in the repository, for MobileNetV2-0.35 only), none (random), or a file: .h5, "
        ".weights.h5, .keras",
    )  # fmt: skip
    image_size: int | None = option(None, "size in pixels (default: the backbone's own)", 1, 4096, modality="image")
    pooling: Literal["avg", "max", "both"] = option("avg", "how the feature map becomes a vector")
    hidden_units: list[int] = option([], "units of hidden dense layers between features and output, e.g. [256]", 1)
    dropout: float = option(0.2, "dropout rate before each dense layer", 0.0, 0.95)
    l2: float = option(0.0, "L2 penalty on the kernels of the head", 0.0, 10.0)
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = option("float32", "dtype policy of the layers")
    # [part: kerashub]
    sequence_length: int | None = option(
        None, "tokens of a text that a KerasHub encoder sees (default: what 95% of the texts need, at most 128)",
        4, 8192, provider="kerashub",
    )  # fmt: skip
    # [/part]
    # [part: hub]
    pixel_range: Literal["auto", "0..1", "-1..1", "0..255"] = option(
        "auto",
        "pixel range that a hub module takes; auto: 0..1, or 0..255 where the module says so",
        modality="image",
        provider="hub",
    )
    # [/part]


@dataclass(kw_only=True, repr=False)
class AugmentOptions(Options):
    """Augmentation of training images."""

    flip: Literal["none", "horizontal", "both"] = option("horizontal", "random flips: left-right, or up-down as well")
    min_crop_area: float = option(0.7, "minimum fraction of the area that a random crop keeps; 1 is no crop", 0.05, 1.0)
    rotation: float = option(0.0, "maximum rotation in degrees, either way", 0.0, 180.0)
    color_jitter: float = option(0.2, "maximum relative change of brightness, contrast and saturation", 0.0, 0.9)
    mixup: float = option(0.0, "alpha of MixUp's Beta distribution; 0 is off", 0.0, 10.0)
    cutmix: float = option(0.0, "alpha of CutMix's Beta distribution; 0 is off", 0.0, 10.0)

    def changes_images(self) -> bool:
        """Return whether any change of a single image is on."""
        return self.flip != "none" or self.min_crop_area < 1 or self.rotation > 0 or self.color_jitter > 0


@dataclass(kw_only=True, repr=False)
class TrainingOptions(AugmentOptions, CacheOptions):
    """Training in two phases."""

    batch_size: int = option(32, "examples per step", 1, 65536)
    frozen_epochs: int = option(10, "epochs of phase 1, in which only the head is trained", 1, 10000)
    finetune_epochs: int | None = option(
        None, "epochs of phase 2, with the top of the backbone or all of it unfrozen; 0: none (default: 10, or as many "
        f"as make {FINETUNE_STEPS} steps)", 0, 10000,
    )  # fmt: skip
    linear_probe: Literal["auto", "always", "never"] = option(
        "auto", "fit the head of phase 1 at once instead of training it, as the linear solution that cross-validation "
        "prefers; auto: up to 10 training examples of a class, or 64 in all",
    )  # fmt: skip
    unfreeze: str | None = option(
        None, "what phase 2 unfreezes: a stage and all above it, a number of layers, a fraction (30%), all, or none "
        "(default: from the backbone's last downsampling on, see scripts/summary.py; all from random weights, or where "
        "images have half the backbone's own size or less)",
    )  # fmt: skip
    batch_norm: Literal[
        "source",
        "adapt",
        "train",
        # [part: choose]
        "auto",
        # [/part]
    ] = option(
        "source",
        "statistics of BatchNormalization: those of the pretrained weights, with those of the images blended in, or "
        "moving with --unfreeze all"
        # [part: choose]
        "; auto: source or adapt, what tells the classes apart best"
        # [/part]
        "",  # so that this stays valid without the parts
        modality="image",
    )
    adapt_fraction: float = option(
        0.5, "fraction of the training images' statistics with --batch-norm adapt", 0.0, 1.0, modality="image"
    )
    views: int = option(
        4, "views of each image that are computed once and cached, all but the first augmented; 0 caches nothing", 0,
        1000,
    )  # fmt: skip
    optimizer: Literal["adam", "adamw", "sgd"] = option("adamw", "optimizer of both phases")
    head_learning_rate: float | None = option(
        None, "maximum learning rate of phase 1 (default: 1e-3, from random weights 1e-2)", 1e-9, 10.0
    )
    finetune_learning_rate: float | None = option(
        None, "maximum learning rate of phase 2 (default: 1e-4, from random weights 5e-4)", 1e-9, 10.0
    )
    schedule: Literal["cosine", "constant"] = option("cosine", "learning rate after the warmup")
    warmup: float = option(0.1, "fraction of a phase in which the learning rate rises from zero", 0.0, 0.9)
    layer_decay: float | None = option(
        None, "factor on the learning rate for each stage (not layer) further from the head (default: 0.8, or 1 with "
        "all layers or random weights)", 0.01, 1.0,
    )  # fmt: skip
    weight_decay: float = option(1e-4, "decoupled weight decay; adam goes without", 0.0, 1.0)
    # [part: fine-tuning]
    gradual_unfreezing: bool = option(
        False, "phase 2 starts with the top stage of what it unfreezes; the others follow, all of them by its middle"
    )
    l2_sp: float = option(
        0.0, "penalty on the squared distance of unfrozen weights from the pretrained ones; 0 is off", 0.0, 1000.0
    )
    lora_rank: int = option(
        0, "phase 2 leaves unfrozen kernels as they are and trains a change of this rank beside each; 0 is off", 0, 1024
    )
    # [/part]
    label_smoothing: float = option(0.0, "fraction of each label spread over all classes", 0.0, 0.5)
    class_weights: Literal["none", "balanced", "oversample"] = option(
        "none", "balanced: rare classes count for more; oversample: their examples come as often as those of others"
    )
    monitor: Literal["val_loss", "val_accuracy"] = option(
        "val_loss", "what chooses the epoch of each phase, and between the phases: the lowest loss, or the highest "
        "accuracy (of several labels: of single decisions) and then the loss",
    )  # fmt: skip
    patience: int | None = option(
        None, "epochs without a better validation result after which a phase ends (default: "
        f"{PATIENCE_EPOCHS}, or as many as make {PATIENCE_STEPS} steps)", 1, 10000,
    )  # fmt: skip
    seed: int = option(0, "of the split, the head's initial weights, the order and the augmentation", 0, 2**31 - 1)

    # [part: fine-tuning]
    def check_finetuning(self, pretrained: bool = True) -> None:
        """Refuse options of phase 2 that have no effect."""
        given = {"--gradual-unfreezing": self.gradual_unfreezing, "--l2-sp": self.l2_sp, "--lora-rank": self.lora_rank}
        for name in [name for name, value in given.items() if value]:
            if self.finetune_epochs == 0 or self.unfreeze == "none":
                raise UserError(f"{name} is for phase 2, and there is none; leave it out, or give epochs and layers.")
            if not pretrained:
                raise UserError(f"{name} spares pretrained weights, and --weights was none; leave it out.")
        if self.l2_sp and self.lora_rank:
            raise UserError(
                "--l2-sp pulls unfrozen weights back to the pretrained ones, and with --lora-rank these stay as they "
                "are; give one of them."
            )

    # [/part]
    def check_task(self, task: str) -> None:
        """Refuse options that need classes where the task is regression, and those that need each other."""
        if self.batch_norm == "train" and self.unfreeze != "all":
            given = "not given" if self.unfreeze is None else self.unfreeze
            raise UserError(
                "--batch-norm was train, which lets statistics move where all layers are trained, and --unfreeze was "
                f"{given}. Give --unfreeze all, or --batch-norm adapt."
            )
        if task == "regression" and (self.label_smoothing or self.class_weights != "none"):
            raise UserError("--label-smoothing and --class-weights need classes; the task is regression.")
        if task == "multi_label" and self.class_weights == "oversample":
            raise UserError("--class-weights was oversample, which needs one class per example. Give balanced.")
        if task == "regression" and self.monitor == "val_accuracy":
            raise UserError("--monitor was val_accuracy; a regression has no accuracy. Give val_loss.")

    def with_defaults(self, unfreeze: str, pretrained: bool = True) -> Self:
        """Return a copy in which no learning rate and no stage is None; `unfreeze` is `spec.default_unfreeze(size)`.

        Pretrained weights are changed with care: slowly, and where only the top is, earlier stages slower still. Random
        weights hold nothing worth keeping, so all of them are trained, at a normal rate.
        """
        # [part: choose]
        if self.batch_norm == "auto":
            raise UserError("batch_norm was auto, which only a training run decides; give source, adapt or train.")
        # [/part]
        unfrozen = self.unfreeze or (unfreeze if pretrained else "all")
        defaults: dict[str, Any] = {
            "unfreeze": unfrozen,
            "head_learning_rate": 1e-3 if pretrained else 1e-2,
            "finetune_learning_rate": 1e-4 if pretrained else 5e-4,
            "layer_decay": 0.8 if pretrained and unfrozen.lower() not in ("all", "100%") else 1.0,
        }
        return replace(self, **{name: value for name, value in defaults.items() if getattr(self, name) is None})

    def for_examples(self, count: int) -> Self:
        """Return a copy in which the epochs of phase 2, and the patience, are known for so many training examples.

        A set of a few hundred is fine-tuned for some hundred steps, as in the BiT-HyperRule (Kolesnikov et al. 2020,
        arXiv:1912.11370); `patience` ends the phase where validation gets no better.
        """
        steps = ceil(count / self.batch_size)
        epochs: dict[str, Any] = {
            "finetune_epochs": max(FINETUNE_EPOCHS, ceil(FINETUNE_STEPS / steps)),
            "patience": max(PATIENCE_EPOCHS, ceil(PATIENCE_STEPS / steps)),
        }
        return replace(self, **{name: minimum for name, minimum in epochs.items() if getattr(self, name) is None})


@dataclass(kw_only=True, repr=False)
class TrainConfig(RunOptions, EvaluationOptions, TrainingOptions, ModelOptions, DataOptions):
    """All options of `scripts/train.py`."""

    # [part: learning-rate]
    find_learning_rates: bool = option(
        False, "only test learning rates for both phases, plot them into learning_rates.png here, and stop"
    )

    # [/part]
    # [part: tracking]
    track: Literal["none", "tensorboard", "mlflow"] = option(
        "none", "send options, metrics of each epoch and curves to TensorBoard (RUN/tensorboard) or MLflow (./mlruns, "
        "or MLFLOW_TRACKING_URI)",
    )  # fmt: skip

    # [/part]
    # [part: devices]
    devices: Literal["auto"] | int = option(
        "auto", "GPUs that train together, each on its part of every batch; auto: all that TensorFlow can use", 1, 64
    )

    # [/part]
    # [part: cluster]
    cluster: str | None = option(
        None, "features on a Ray cluster at HOST:PORT, or on N parts of this machine: local:N; needs 'pip install ray'"
    )
    cluster_training: bool = option(
        False, "train phase 2 on --cluster, too, and phase 1 where features are not cached: each machine computes the "
        "gradients of its part of a batch",
    )  # fmt: skip

    # [/part]
    def check(self) -> None:
        """Refuse values that are not valid and options that contradict each other; `task` may be known by now."""
        check_values(self)
        self.check_run()
        # [part: cluster]
        from tlkeras.config.cluster import check_cluster, check_cluster_training

        check_cluster(self.cluster)
        check_cluster_training(self)
        # [/part]
        # [part: openvino]
        from importlib.util import find_spec

        if self.engine.startswith("openvino") and find_spec("openvino") is None:
            raise UserError(f"--engine {self.engine} needs OpenVINO, which is not installed: pip install openvino.")
        # [/part]
        # [part: tracking]
        from importlib.util import find_spec

        if self.track != "none" and find_spec(self.track) is None:
            package = {"mlflow": "mlflow-skinny"}.get(self.track, self.track)
            raise UserError(f"--track {self.track} needs a package that is not installed: pip install {package}.")
        # [/part]
        # [part: choose]
        for name in ("resize", "batch_norm"):
            if getattr(self, name) == "auto" and (self.weights == "none" or self.task not in ("auto", "single_label")):
                raise UserError(
                    f"--{name.replace('_', '-')} was auto, which asks pretrained features how well they tell classes "
                    "apart: it needs weights, and one class per image. Leave it out."
                )
        # [/part]
        if self.batch_norm in ("adapt", "auto") and self.weights == "none":
            raise UserError(
                f"--batch-norm was {self.batch_norm}, which blends into statistics of pretrained weights, and "
                "--weights was none: then all statistics are those of the training images. Leave --batch-norm out."
            )
        # [part: fine-tuning]
        self.check_finetuning(self.weights != "none")
        # [/part]
        self.check_data()
        self.check_task(self.task)


def with_epochs(epochs: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Return options with the epochs of both phases, where they are given as a pair."""
    if epochs is None:
        return options
    if not (isinstance(epochs, tuple | list) and len(epochs) == 2):
        raise UserError(f"epochs was {epochs!r}; it must be those of both phases, such as epochs=(10, 10).")
    if twice := {"frozen_epochs", "finetune_epochs"} & options.keys():
        raise UserError(f"Both epochs and {twice.pop()} were given; give one of them.")
    return options | {"frozen_epochs": epochs[0], "finetune_epochs": epochs[1]}
