"""What a data set is made of, pictures, texts or sounds, and how one of them becomes a row of an array."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tlkeras.config import ModalityName
from tlkeras.modalities.image import decode
from tlkeras.modalities.audio import read_sound
from tlkeras.modalities.text import read_text
from tlkeras.errors import UserError

SUFFIXES: dict[ModalityName, frozenset[str]] = {
    "pictures": frozenset(
        (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    ),
    "texts": frozenset((".txt",)),
    "sounds": frozenset((".wav",)),
}
GREATEST_MIXTURE = 0.1  # share of files that are not what the others are


@dataclass(frozen=True)
class Form:
    """What examples are once they are decoded.

    Attributes:
        name: "pictures", "texts" or "sounds".
        shape: of one of them: `(S, S, 3)`, `()` or `(samples,)`.
        dtype: of an array of them: "uint8", "object" (of str) or "float32".
        read: decodes a file, or its content; raises `Unreadable`.
        smaller: how to have less of them, as a sentence begins.
        rate: samples a second of sounds.
    """

    name: ModalityName
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[Path | bytes], Any] = field(repr=False)
    smaller: str = ""
    rate: int | None = None

    def __str__(self) -> str:
        if self.name == "pictures":
            return f"pictures of {self.shape[0]}x{self.shape[1]} pixels"
        return f"sounds of {self.shape[0]:,} samples" if self.name == "sounds" else "texts"

    @property
    def image_size(self) -> int | None:
        """Pixels a side; None for texts and sounds."""
        return self.shape[0] if self.name == "pictures" else None

    @property
    def seconds(self) -> float | None:
        """Length of sounds; None for others."""
        return self.shape[0] / self.rate if self.rate else None


def pictures(size: int) -> Form:
    """RGB pictures of `size` pixels a side, 0–255."""
    return Form("pictures", (size, size, 3), "uint8", partial(decode, size=size), "Use a smaller image size")


def texts() -> Form:
    """Texts of any length."""
    return Form("texts", (), "object", read_text)


def sounds(samples: int, rate: int) -> Form:
    """Sounds of one channel, cut or padded to a number of samples, at `rate` samples a second."""
    read = partial(read_sound, samples=samples, rate=rate)
    return Form("sounds", (samples,), "float32", read, "Use fewer --seconds", rate)


def count_forms(suffixes: Mapping[str, int]) -> Counter[ModalityName]:
    """How many files are pictures, texts and sounds.

    Args:
        suffixes: how many files have each extension, in lower case.
    """
    return Counter({form: sum(suffixes.get(one, 0) for one in SUFFIXES[form]) for form in SUFFIXES})


def majority(counts: Counter[ModalityName], place: str) -> ModalityName:
    """The form of nearly all files.

    Args:
        counts: of `count_forms`.
        place: where they are, for messages.

    Raises:
        UserError: there are too many others among them.
    """
    form, count = counts.most_common(1)[0]
    if counts.total() - count > GREATEST_MIXTURE * counts.total():
        found = " and ".join(f"{number:,} {other}" for other, number in counts.most_common() if number)
        raise UserError(f"{place} holds {found}. Take them apart, and give one kind of them.")
    return form


def one(form: ModalityName) -> str:
    """The word for a single one: "picture", "text" or "sound"."""
    return form.removesuffix("s")


def count_noun(form: ModalityName) -> str:
    """The word beside a count of them in figures: "images", "texts" or "sounds"."""
    return "images" if form == "pictures" else form
