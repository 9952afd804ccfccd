"""What can be given in Python in place of an option, as an object of one's own."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Extensions:
    """Objects of one's own; `tlkeras.train` says what each may be."""

    callbacks: Sequence[Any] = ()
    loss: Any = None
    metrics: Sequence[Any] = ()
    head: Any = None
    augment: Any = None
    backbone: Any = None

    def __post_init__(self) -> None:
        for name in ("callbacks", "metrics"):  # None, or one without a list
            value = getattr(self, name)
            listed = tuple(value) if isinstance(value, list | tuple) else () if value is None else (value,)
            object.__setattr__(self, name, listed)

    def names(self) -> dict[str, str]:
        """Return the name of each that was given, for `config.yaml`, which cannot hold the objects."""
        given = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {key: ", ".join(map(name_of, value)) if isinstance(value, list | tuple) else name_of(value)
                for key, value in given.items() if value is not None and value != ()}  # fmt: skip


def name_of(given: Any) -> str:
    """Return what to call an object: its text, its name, or that of its class."""
    if isinstance(given, str):
        return given
    return getattr(given, "__name__", None) or getattr(given, "name", None) or type(given).__name__
