"""A bar or a line for what takes long: passing on a terminal, HTML in a notebook; and how long it took."""

import contextlib
import io
import sys
import time
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

DELAY = 2.0  # seconds; what takes less shows no bar
ERASE = "\r\033[K"  # the line that the cursor is in
stage_seconds: dict[str, float] = {}  # of the run that this process works on, by the stage's name


@contextlib.contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the seconds that something takes to those of its stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        stage_seconds[name] = stage_seconds.get(name, 0.0) + time.perf_counter() - start


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this program and shows what it prints; IPython on a terminal is none."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel") and not isinstance(sys.stdout, io.StringIO)


def progress(total: int, description: str, unit: str = "it") -> tqdm:
    """Return a bar for what takes longer than two seconds, to be moved by `update(count)` and ended by `close()`.

    On a terminal it is a line that goes when it is closed; where standard error is no terminal it shows nothing.
    """
    options: dict[str, Any] = {"total": total, "desc": description, "unit": f" {unit}", "delay": DELAY}
    # [part: notebooks]
    if in_notebook():
        from tlkeras.notebook import NotebookBar

        return NotebookBar(**options)
    # [/part]
    return tqdm(**options, leave=False, disable=None)


@contextlib.contextmanager
def passing(text: str) -> Iterator[None]:
    """Show what is being done while it cannot be counted, on a terminal only; the line goes when it is done."""
    on_terminal = sys.stderr.isatty()
    try:
        if on_terminal:
            print(f"{ERASE}{text} …", end="", file=sys.stderr, flush=True)
        yield
    finally:
        if on_terminal:
            print(ERASE, end="", file=sys.stderr, flush=True)
