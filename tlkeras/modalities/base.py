"""What examples can be: a `Modality` knows file suffixes, decoding, wording and options of one kind of data.

Images are built in; others are modules of this package that are imported when they are asked for by name.
"""

import importlib
import importlib.util
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from tlkeras.config.fields import Resize
from tlkeras.errors import UserError

if TYPE_CHECKING:
    from tlkeras.backbones.spec import BackboneSpec

CLASSES = {
    "image": "ImageModality",
    # [part: text]
    "text": "TextModality",
    # [/part]
    # [part: audio]
    "audio": "AudioModality",
    # [/part]
}
SIDE = 48  # pixels of a thumbnail
MAX_MIXTURE = 0.1  # fraction of files that are of another modality than the rest


class DecodeError(Exception):
    """A file that cannot be decoded; the message is the reason in a few words."""


@dataclass(frozen=True)
class Modality:
    """How the examples of a dataset are decoded."""

    name: ClassVar[str]  # for options, run folders and the input layer of a model
    singular: ClassVar[str]
    plural: ClassVar[str]
    dtype: ClassVar[str]  # of an array of decoded examples
    suffixes: ClassVar[frozenset[str]]  # of files, in lower case
    folder_example: ClassVar[str]  # two paths of an example folder
    glob_example: ClassVar[str]  # a pattern of files
    throughput_unit: ClassVar[str]
    finite_hint: ClassVar[str] = "Give other weights."  # what to do where features are not finite
    augmentable: ClassVar[bool] = False  # whether `tlkeras.data.augment` applies
    skips_others: ClassVar[bool] = False  # whether files of other modalities are skipped where these are wanted
    inline: ClassVar[bool] = False  # whether examples may be given on the command line instead of in files

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one decoded example."""

    @abstractmethod
    def read(self, source: Any) -> Any:
        """Decode a file, its content, or RGB pixels; where that cannot be done, raise a `DecodeError`."""

    def thumbnail(self, row: np.ndarray, side: int) -> np.ndarray:
        """Return a small gray image of a decoded image, uint8 `(side, side)`; none, `(0, 0)`, of others."""
        return np.empty((0, 0), np.uint8)

    def thumbnails(self, inputs: Any, side: int) -> np.ndarray:
        """Return small gray images of decoded examples, uint8 `(N, side, side)`; none, `(0, side, side)`, of others."""
        return np.empty((0, side, side), np.uint8)

    def options(self) -> dict[str, Any]:
        """Return the options of a run that say how its examples are decoded."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the modality of a run from its `options`; raise KeyError or TypeError where they are damaged."""
        return cls()

    @classmethod
    def resolve(cls, spec: "BackboneSpec", options: Mapping[str, Any], sample: Callable[[Callable], list]) -> Self:
        """Choose how examples are decoded for a backbone; refuse options that it does not take.

        `sample` returns a function of each of about 50 examples that can be read.
        """
        return cls()

    @classmethod
    def count_noun(cls, count: int) -> str:
        """Return a number of examples in words, such as "1 image" or "1,200 images"."""
        return f"{count:,} {cls.singular if count == 1 else cls.plural}"

    @classmethod
    def check_shape(cls, given: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
        """Refuse decoded examples of another shape than a model takes; both without the batch axis."""

    @classmethod
    def from_shape(cls, shape: tuple[int, ...], resize: Resize = "crop") -> Self:
        """Return how examples are decoded for a model that takes them in this shape, images made square like this."""
        raise UserError(f"Give {cls.plural} as tlkeras.split_data returns them, decoded.")

    @classmethod
    def from_memory(cls, examples: Sequence[Any]) -> list[Any]:
        """Return examples that are arrays or Pillow images as `read` takes them; refuse what they cannot be."""
        raise UserError(f"{cls.plural.capitalize()} cannot be given as arrays or Pillow images. Give files of them.")

    @classmethod
    def to_rows(cls, inputs: Any) -> Any:
        """Return decoded examples with the dtype that training takes; refuse values that they cannot have."""
        return inputs

    @classmethod
    def check_files(cls, files: Iterable[Path], given: str) -> None:
        """Refuse files to predict that cannot be single examples."""


def get_modality(name: str) -> type[Modality]:
    """Return the modality of this name; raise KeyError where this project has none."""
    # [part: template]
    if name not in CLASSES:  # what models and run folders of earlier versions call it
        from tlkeras.config.old_names import MODALITIES

        name = MODALITIES[name]
    # [/part]
    class_name = CLASSES[name]
    return getattr(importlib.import_module(f"tlkeras.modalities.{name}"), class_name)


def known_modalities() -> list[type[Modality]]:
    """Return all modalities of this project."""
    return [get_modality(name) for name in CLASSES if importlib.util.find_spec(f"{__package__}.{name}")]


def count_modalities(suffixes: Mapping[str, int]) -> Counter[type[Modality]]:
    """Return how many files each modality has, from the count of each suffix in lower case."""
    return Counter({one: sum(suffixes.get(suffix, 0) for suffix in one.suffixes) for one in known_modalities()})


def majority(counts: Counter[type[Modality]], path: str) -> type[Modality]:
    """Return the modality of nearly all files in `path`; refuse a mixture."""
    modality, count = counts.most_common(1)[0]
    if counts.total() - count > MAX_MIXTURE * counts.total():
        found = " and ".join(other.count_noun(number) for other, number in counts.most_common() if number)
        raise UserError(f"{path} holds {found}. Separate them, and give one kind.")
    return modality


def read_bytes(path: Path, start: int = 0, count: int = -1) -> bytes:
    """Return the content of a file, or at most `count` bytes of it, for decoding."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return file.read(count)
    except OSError as error:
        raise DecodeError((error.strerror or str(error)).lower()) from error
