"""The exceptions that end a command in a sentence, and the sentences about an unknown word."""

import difflib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

# What other programs, or people in a hurry, call an option; of these names a command has some.
SIMILAR = {
    "lr": ("head-learning-rate", "finetune-learning-rate", "learning-rate"),
    "learning-rate": ("head-learning-rate", "finetune-learning-rate"),
    "epoch": ("frozen-epochs", "finetune-epochs", "epochs"),
    "epochs": ("frozen-epochs", "finetune-epochs"),
    "model": ("backbone",),
    "num-epochs": ("frozen-epochs", "finetune-epochs"),
    "n-epochs": ("frozen-epochs", "finetune-epochs"),
    "arch": ("backbone",),
    "pretrained": ("weights",),
    "freeze": ("unfreeze",),
    "wd": ("weight-decay",),
    "train-dir": ("data",),
    "early-stopping": ("patience",),
    "augment": ("flip", "min-crop-area", "color-jitter"),
    "batch": ("batch-size",),
    "bs": ("batch-size",),
    "size": ("image-size",),
    "output": ("run-dir",),
    "output-dir": ("run-dir",),
    "out": ("run-dir",),
}


MAX_REASON = 200  # characters


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


def first_sentence(error: BaseException) -> str:
    """Return what another library says of its error: the first sentence, in at most 200 characters, without a stop."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    text = re.split(r"(?<=\w[.!?]) ", " ".join(lines[0].split()))[0].rstrip(".")
    return text if len(text) <= MAX_REASON else f"{text[: MAX_REASON - 1]}…"


def unknown_option(given: str, known: Sequence[str], where: str = "", program: str | None = None) -> str:
    """Return a sentence about an unknown option, as `--option` or as a name in YAML, with what is near to it."""
    plain = {name.lstrip("-").replace("_", "-"): name for name in known}
    word = given.lstrip("-").replace("_", "-").lower()
    near = [name for name in SIMILAR.get(word, ()) if name in plain] or difflib.get_close_matches(word, plain, n=1)
    hint = f" Did you mean {' or '.join(plain[name] for name in near)}?" if near else ""
    return f"Unknown option {given}{where}.{hint} See {program or Path(sys.argv[0]).name} --help."
