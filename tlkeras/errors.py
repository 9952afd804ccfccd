"""The exceptions that end a command in a sentence, and the sentence about an unknown word."""

import difflib
from collections.abc import Sequence


class UserError(Exception):
    """Something the user gave cannot be used.

    The message is whole sentences: what was given, what was expected, what to do. Scripts print it without a traceback
    and exit with code 2; so does a notebook, which stops at the cell.
    """

    def _render_traceback_(self) -> list[str]:
        """Return what IPython shows in place of a traceback."""
        return [f"{type(self).__name__}: {self}"]


class Terminated(KeyboardInterrupt):
    """The program was told to end by SIGTERM, as Ctrl-C tells it."""


def unknown(what: str, given: str, word: str, known: Sequence[str]) -> str:
    """Return a sentence about an unknown word, with the closest known one and all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    hint = f" Did you mean {close[0]}?" if close else ""
    return f"There is no {what} {given}.{hint} Known {what}s: {' '.join(known)}."
