"""What a data set is made of, pictures, texts or sounds, and how one of them becomes a row of an array."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tlkeras.config import FormName
from tlkeras.data.decode import decode
from tlkeras.data.texts import read_text

SUFFIXES: dict[FormName, frozenset[str]] = {
    "pictures": frozenset(
        (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
    ),
    "texts": frozenset((".txt",)),
    "sounds": frozenset((".wav",)),
}


@dataclass(frozen=True)
class Form:
    """What examples are once they are decoded.

    Attributes:
        name: "pictures", "texts" or "sounds".
        shape: of one of them: `(S, S, 3)`, `()` or `(samples,)`.
        dtype: of an array of them: "uint8", "object" (of str) or "float32".
        read: decodes a file, or its content; raises `Unreadable`.
        smaller: how to have less of them, as a sentence begins.
    """

    name: FormName
    shape: tuple[int, ...]
    dtype: str
    read: Callable[[Path | bytes], Any] = field(repr=False)
    smaller: str = ""

    def __str__(self) -> str:
        if self.name == "pictures":
            return f"pictures of {self.shape[0]}x{self.shape[1]} pixels"
        return f"sounds of {self.shape[0]:,} samples" if self.name == "sounds" else "texts"

    @property
    def image_size(self) -> int | None:
        """Pixels a side; None for texts and sounds."""
        return self.shape[0] if self.name == "pictures" else None


def pictures(size: int) -> Form:
    """RGB pictures of `size` pixels a side, 0–255."""
    return Form("pictures", (size, size, 3), "uint8", partial(decode, size=size), "Use a smaller image size")


def texts() -> Form:
    """Texts of any length."""
    return Form("texts", (), "object", read_text)


def one(form: FormName) -> str:
    """The word for a single one: "picture", "text" or "sound"."""
    return form.removesuffix("s")


def units(form: FormName) -> str:
    """The word beside a count of them in figures: "images", "texts" or "sounds"."""
    return "images" if form == "pictures" else form
