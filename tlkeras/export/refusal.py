"""What is said of a model that a format cannot hold."""

import re
from typing import Any

from tlkeras.errors import UserError, first_sentence


def check_frozen(function: Any, title: str) -> None:
    """Refuse a `tf.function` that holds more than its graph: converters take nothing else along."""
    if function.get_concrete_function().captured_inputs:
        raise cannot_hold(title, "it looks words up in a vocabulary")


def refusal(title: str, error: Exception, missing: str) -> UserError:
    """Return what a converter's error says; `missing` finds the operators in it that the format does not have."""
    names = sorted(set(re.findall(missing, str(error))))
    return cannot_hold(title, f"it has no operator for {', '.join(names)}" if names else first_sentence(error))


def cannot_hold(title: str, reason: str) -> UserError:
    """Return the sentence."""
    return UserError(f"{title} cannot hold this model: {reason}. Export it with --format saved-model.")
