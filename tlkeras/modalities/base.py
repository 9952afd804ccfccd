"""What examples can be: a `Modality` knows file suffixes, decoding, wording and options of one kind of data.

Images are built in; others are modules of this package that are imported when they are asked for by name.
"""

import importlib
import importlib.util
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

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
# What models and run folders of earlier versions call them.
OLD_NAMES = {
    "pictures": "image",
    # [part: text]
    "texts": "text",
    # [/part]
    # [part: audio]
    "sounds": "audio",
    "sound": "audio",
    # [/part]
}
MAX_MIXTURE = 0.1  # fraction of files that are of another modality than the rest


class DecodeError(Exception):
    """A file that cannot be decoded; the message is the reason in a few words."""


@dataclass(frozen=True)
class Modality:
    """How the examples of a dataset are decoded.

    Attributes:
        name: for options, run folders and the input layer of a model.
        singular: for messages.
        plural: for messages.
        dtype: of an array of decoded examples.
        suffixes: of files, in lower case.
        folder_example: two paths of an example folder.
        glob_example: a pattern of files.
        throughput_unit: such as "img/s".
        size_hint: how to have smaller examples, as a sentence begins.
        finite_hint: what to do where a backbone gives features that are not finite.
        augmentable: whether `tlkeras.data.augment` applies.
        skips_others: whether files of other modalities among them are skipped where these are wanted.
        inline: whether examples may be given on the command line instead of in files.
    """

    name: ClassVar[str]
    singular: ClassVar[str]
    plural: ClassVar[str]
    dtype: ClassVar[str]
    suffixes: ClassVar[frozenset[str]]
    folder_example: ClassVar[str]
    glob_example: ClassVar[str]
    throughput_unit: ClassVar[str]
    size_hint: ClassVar[str] = ""
    finite_hint: ClassVar[str] = "Give other weights."
    augmentable: ClassVar[bool] = False
    skips_others: ClassVar[bool] = False
    inline: ClassVar[bool] = False

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one decoded example."""

    @abstractmethod
    def read(self, source: Any) -> Any:
        """Decode a file, its content, or for images an RGB array `(H, W, 3)`.

        Raises:
            DecodeError: it cannot be decoded.
        """

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """Return the options of a run that say how its examples are decoded."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Return the modality of a run from its `options`.

        Raises:
            KeyError: an option is missing.
            TypeError: an option has no possible value.
        """

    @classmethod
    @abstractmethod
    def resolve(
        cls, spec: "BackboneSpec", options: Mapping[str, Any], median: Callable[[Callable], float | None]
    ) -> Self:
        """Choose how the examples of a dataset are decoded for a backbone.

        Args:
            spec: the backbone.
            options: of the run.
            median: returns the median of a function of a file over a sample of the examples.

        Raises:
            UserError: the backbone does not take what the options say.
        """

    @classmethod
    def count_noun(cls, count: int) -> str:
        """Return a number of examples in words, such as "1 image" or "1,200 images"."""
        return f"{count:,} {cls.singular if count == 1 else cls.plural}"

    @classmethod
    def check_shape(cls, given: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
        """Refuse decoded examples of another shape than a model takes; both without the batch axis.

        Raises:
            UserError: they differ.
        """

    @classmethod
    def check_files(cls, files: Iterable[Path], given: str) -> None:
        """Refuse files to predict that cannot be single examples.

        Raises:
            UserError: with what to do instead.
        """


def get_modality(name: str) -> type[Modality]:
    """Return the modality of this name.

    Raises:
        KeyError: this project has no such modality.
    """
    name = OLD_NAMES.get(name, name)
    return getattr(importlib.import_module(f"tlkeras.modalities.{name}"), CLASSES[name])


def known_modalities() -> list[type[Modality]]:
    """Return all modalities of this project."""
    return [get_modality(name) for name in CLASSES]


def count_modalities(suffixes: Mapping[str, int]) -> Counter[type[Modality]]:
    """Return how many files each modality has, from the count of each suffix in lower case."""
    return Counter({one: sum(suffixes.get(suffix, 0) for suffix in one.suffixes) for one in known_modalities()})


def majority(counts: Counter[type[Modality]], path: str) -> type[Modality]:
    """Return the modality of nearly all files in `path`.

    Raises:
        UserError: there are too many others among them.
    """
    modality, count = counts.most_common(1)[0]
    if counts.total() - count > MAX_MIXTURE * counts.total():
        found = " and ".join(other.count_noun(number) for other, number in counts.most_common() if number)
        raise UserError(f"{path} holds {found}. Separate them, and give one kind.")
    return modality
