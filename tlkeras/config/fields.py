"""What an option is: a dataclass field with a help text and a range, and the check of its value."""

from dataclasses import Field, field, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from tlkeras.errors import UserError

Task = Literal["single_label", "multi_label", "regression"]
ModalityName = Literal["pictures", "texts", "sounds"]  # what examples are; in messages, too

TYPE_NAMES = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    list[int]: "a list of whole numbers such as [256,128]",
}


def option(
    default: Any, help: str, min: float | None = None, max: float | None = None, form: ModalityName | None = None
) -> Any:
    """Make a dataclass field that is an option of the command line.

    Args:
        default: its value where nothing is given; a list is copied for each config.
        help: what the option is, for `--help`.
        least: the least number that is accepted; None where there is no range.
        most: the greatest number that is accepted, likewise.
        form: what examples must be if the option is to say anything about them; None for anything.

    Returns:
        A field of `dataclasses`, with all but the default in its metadata.
    """
    metadata = {"help": help, "least": min, "most": max, "form": form}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def range_text(entry: Field) -> str:
    """The range that an option accepts, in words; empty where there is none."""
    min, max = entry.metadata["least"], entry.metadata["most"]
    if min is None:
        return ""
    return f"of at least {min}" if max is None else f"from {min} to {max}"


def check_values(config: Any) -> None:
    """Refuse values of a wrong kind, that are not among the choices, or outside the range that their option states.

    Raises:
        UserError: naming the option, its value and what it must be.
    """
    hints = get_type_hints(type(config))
    for entry in fields(config):
        given = getattr(config, entry.name)
        if not is_valid(given, hints[entry.name], entry):
            raise UserError(
                f"--{entry.name.replace('_', '-')} was {given}; it must be {expected_text(hints[entry.name], entry)}."
            )


def check_modality(config: Any, data: str, form: ModalityName) -> None:
    """Refuse options that say nothing about the data.

    Args:
        config: options, of any dataclass.
        data: name of the data.
        form: what they are.

    Raises:
        UserError: an option for others does not have its default.
    """
    for entry in fields(config):
        given, other = getattr(config, entry.name), entry.metadata["form"]
        if other not in (None, form) and given != entry.default:
            name = f"--{entry.name.replace('_', '-')}"
            raise UserError(f"{name} was {given}; it is for {other}, and {data} holds {form}. Leave it out.")


def is_valid(value: Any, hint: Any, entry: Field) -> bool:
    """Whether a value is what a type hint and the range of its option allow."""
    choices = get_args(hint)
    if get_origin(hint) is list:
        return isinstance(value, list | tuple) and all(is_valid(one, choices[0], entry) for one in value)
    if get_origin(hint) is Literal:
        return value in choices
    if choices:  # X | None
        return any(is_valid(value, choice, entry) for choice in choices)
    if isinstance(value, bool) or hint not in (int, float):
        return isinstance(value, hint)
    min, max = entry.metadata["least"], entry.metadata["most"]
    return isinstance(value, hint | int) and (min is None or value >= min) and (max is None or value <= max)


def expected_text(hint: Any, entry: Field) -> str:
    """What the value of an option must be, in words."""
    bare = hint if hint in TYPE_NAMES else next((one for one in get_args(hint) if one in TYPE_NAMES), None)
    return f"{TYPE_NAMES[bare]} {range_text(entry)}".strip() if bare else f"one of {', '.join(get_args(hint))}"
