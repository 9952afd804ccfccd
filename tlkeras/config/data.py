"""The options of data, and of what is kept of them; `tlkeras.config.train` has the others."""

from dataclasses import dataclass
from typing import Literal

from tlkeras.config.fields import Options, TaskOption, option
from tlkeras.errors import UserError


@dataclass(kw_only=True, repr=False)
class MemoryOptions(Options):
    """Memory."""

    memory_gb: float | None = option(
        None, "memory in GB for decoded examples, and again for features; more goes to disk (default: a quarter "
        "of the machine's memory)", 0.0, 1e6,
    )  # fmt: skip
    disk_gb: float | None = option(
        None, "disk space in GB for decoded examples; where they need more, they are decoded whenever they are needed "
        "(default: what is free)", 0.0, 1e6,
    )  # fmt: skip


@dataclass(kw_only=True, repr=False)
class CacheOptions(MemoryOptions):
    """Cached features."""

    # [part: feature-cache]
    cache_gb: float = option(
        10.0, "disk space in GB for features kept for the next run, see scripts/cache.py; 0 keeps none", 0.0, 1e6
    )
    # [/part]
    feature_dtype: Literal["float32", "float16"] = option("float32", "dtype of cached features; float16 takes half")
    engine: Literal[
        "auto",
        "tensorflow",
        # [part: openvino]
        "openvino",
        "openvino_bf16",
        # [/part]
    ] = option(
        "auto",
        "what computes the features"
        # [part: openvino]
        "; auto: OpenVINO for a thousand images or more, after 'pip install openvino', else TensorFlow"
        # [/part]
        "",  # so that this stays valid without the parts
        modality="image",
    )  # fmt: skip


@dataclass(kw_only=True, repr=False)
class DataOptions(MemoryOptions):
    """Data and splits."""

    data: str = option(
        "",  # so that this stays valid without the parts
        "folder with one subfolder per class, folder with train/validation/test, "
        # [part: csv]
        "CSV of path,label, "
        # [part: text]
        "CSV of text,label, "
        # [/part]
        # [/part]
        # [part: tfds]
        "tfds:NAME, "
        # [/part]
        "or digits (1,797 small images that need no download)",
    )
    # [part: tfds]
    data_dir: str | None = option(
        None, "folder in which TensorFlow Datasets keeps its datasets (default: $TFDS_DATA_DIR, ~/tensorflow_datasets)"
    )
    # [/part]
    task: TaskOption = option(
        "auto", "what a label is: one class of several, several classes at once, or a number; auto: decided by the data"
    )
    validation_split: float = option(0.15, "fraction of examples for validation, which chooses the epoch", 0.01, 0.8)
    test_split: float = option(0.15, "fraction of examples for the test, evaluated once at the end", 0.01, 0.8)
    shots: int | None = option(
        None, "for experiments: only so many training examples of each class, drawn with the seed", 1, 1_000_000
    )
    max_unreadable: float = option(0.1, "fraction of unreadable files above which the run stops", 0.0, 1.0)
    gray_range: list[int] | None = option(
        None, "black and white in 16-bit, 32-bit and float gray images, e.g. [0,4095] (default: by a sample of them)",
        modality="image",
    )  # fmt: skip
    resize: Literal[
        "crop",
        "pad",
        "squash",
        # [part: choose]
        "auto",
        # [/part]
    ] = option(
        "crop",
        "how an image becomes a square: its center is taken, black bars are put beside it, or it is squashed"
        # [part: choose]
        "; auto: what tells the classes apart best, crop where that is not sure"
        # [/part]
        "",  # so that this stays valid without the parts
        modality="image",
    )
    # [part: audio]
    sample_rate: int | None = option(
        None, "samples per second that audio is resampled to (default: 16000)", 1000, 192000, modality="audio"
    )
    seconds: float | None = option(
        None, "length that audio is cut or padded to (default: the module's, else the median, at most 10)", 0.01, 600.0,
        modality="audio",
    )  # fmt: skip
    # [/part]

    def check_data(self) -> None:
        """Refuse a missing dataset, a folder of datasets that is not used, and splits that leave too little."""
        if not self.data:
            raise UserError(
                "Nothing was given for --data: give a folder with one subfolder per class, "
                # [part: csv]
                "a CSV file, "
                # [/part]
                # [part: tfds]
                "tfds:NAME, "
                # [/part]
                "or digits, the built-in example (its options: configs/digits.yaml)."
            )
        if self.validation_split + self.test_split > 0.9:
            raise UserError(
                f"--validation-split {self.validation_split} and --test-split {self.test_split} leave less than a "
                "tenth of the examples for training; lower them."
            )
        # [part: tfds]
        if self.data_dir is not None and not self.data.startswith("tfds:"):
            raise UserError(
                f"--data-dir {self.data_dir} says where TensorFlow Datasets keeps its datasets, but --data is "
                f"{self.data}. Give --data tfds:NAME, or --data {self.data_dir} if it is a folder of images."
            )
        # [/part]
