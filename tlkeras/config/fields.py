"""What an option is: a dataclass field with a help text and a range, and the check of its value."""

import os
from dataclasses import Field, dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from tlkeras.errors import UserError, unknown_option

Task = Literal["single_label", "multi_label", "regression"]
TaskOption = Literal["auto", "single_label", "multi_label", "regression"]
Resize = Literal["crop", "pad", "squash"]

TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list[int]: "a list of whole numbers",
}


@dataclass(kw_only=True, repr=False)
class Options:
    """What all options have in common: a path becomes text, and `repr` shows what differs from the defaults."""

    def __post_init__(self) -> None:
        for entry in fields(self):
            if isinstance(given := getattr(self, entry.name), os.PathLike):
                setattr(self, entry.name, os.fspath(given))

    def __repr__(self) -> str:
        shown = []
        for entry in fields(self):
            default = entry.default_factory() if callable(entry.default_factory) else entry.default
            value = getattr(self, entry.name)
            if isinstance(value, str | int | float | list | None):
                shown += [] if value == default else [f"{entry.name}={value!r}"]
            else:  # data in memory
                shown.append(f"{entry.name}=<{type(value).__name__}>")
        return f"{type(self).__name__}({', '.join(shown)})"


Config = TypeVar("Config", bound=Options)


def option(
    default: Any,
    help: str,
    min: float | None = None,
    max: float | None = None,
    modality: str | None = None,
    provider: str | None = None,
) -> Any:
    """Make a dataclass field that is an option of the command line, perhaps for one modality or provider only.

    Its type is int, float, str, bool (a switch, off by default), list[int], a Literal, or one of these or None.
    """
    if default is True:
        raise ValueError("A switch is off by default, as its option turns it on: name the opposite.")
    metadata = {"help": help, "min": min, "max": max, "modality": modality, "provider": provider}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def with_options(config: Config, given: dict[str, Any], function: str) -> Config:
    """Return a copy of a config with options that a function was given by keyword; refuse unknown ones."""
    if not isinstance(config, Options):
        raise UserError(f"The options of {function} are a {type(config).__name__}. Give single options by keyword.")
    known = [entry.name for entry in fields(config)]
    for name in given:
        if name not in known:
            raise UserError(unknown_option(name, known, f" of {function}", "scripts/train.py"))
    return replace(config, **given)


def flag_name(name: str) -> str:
    """Return an option as it is written on the command line."""
    return f"--{name.replace('_', '-')}"


def range_text(entry: Field) -> str:
    """Return the range that an option accepts, in words; empty where there is none."""
    low, high = entry.metadata["min"], entry.metadata["max"]
    if low is None:
        return ""
    return f"from {low}" if high is None else f"from {low} to {high}"


def check_values(config: Any) -> None:
    """Refuse values of a wrong type, that are not among the choices, or outside the range of their option."""
    hints = get_type_hints(type(config))
    for entry in fields(config):
        given = getattr(config, entry.name)
        if not is_valid(given, hints[entry.name], entry):
            expected = expected_text(hints[entry.name], entry)
            raise UserError(f"{flag_name(entry.name)} was {given}; it must be {expected}.")


def check_applicable(config: Any, kind: Literal["modality", "provider"], own: str, what: str) -> None:
    """Refuse options that are for another modality, or for another provider of backbones.

    The sentence ends with `what`, the data or the backbone: "photos holds images".
    """
    for entry in fields(config):
        given, only_for = getattr(config, entry.name), entry.metadata.get(kind)
        if only_for not in (None, own) and given != entry.default:
            raise UserError(
                f"{flag_name(entry.name)} was {given}; it is for {only_for} only, and {what}. Leave it out."
            )


def is_valid(value: Any, hint: Any, entry: Field) -> bool:
    """Return whether a value is what a type hint and the range of its option allow."""
    choices = get_args(hint)
    if get_origin(hint) is list:
        return isinstance(value, list | tuple) and all(is_valid(item, choices[0], entry) for item in value)
    if get_origin(hint) is Literal:
        return value in choices
    if choices:  # X | None
        return any(is_valid(value, choice, entry) for choice in choices)
    if isinstance(value, bool) or hint not in (int, float):
        return isinstance(value, hint)
    low, high = entry.metadata["min"], entry.metadata["max"]
    return isinstance(value, hint | int) and (low is None or value >= low) and (high is None or value <= high)


def expected_text(hint: Any, entry: Field) -> str:
    """Return what the value of an option must be, in words."""
    bare = hint if hint in TYPE_NAMES else next((item for item in get_args(hint) if item in TYPE_NAMES), None)
    if bare is None:
        return f"one of {', '.join(get_args(hint))}"
    words = [f"{choice} or " for item in get_args(hint) for choice in get_args(item)]
    example = ", such as [256,128]" if bare == list[int] else ""
    return "".join(words) + f"{TYPE_NAMES[bare]} {range_text(entry)}".strip() + example
