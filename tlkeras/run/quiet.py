"""A training among many: a transient title stands in place of its lines."""

import contextlib
import io
import logging
from collections.abc import Iterator

from tlkeras.progress import passing

log = logging.getLogger("tlkeras")


@contextlib.contextmanager
def quiet(title: str) -> Iterator[None]:
    """Keep the lines of a single training off the terminal, where a transient title stands instead."""
    tensorflow = logging.getLogger("tensorflow")  # which warns about so many models in one program
    levels = log.level, tensorflow.level
    log.setLevel(logging.WARNING)
    tensorflow.setLevel(logging.ERROR)
    try:
        with passing(title), contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(levels[0])
        tensorflow.setLevel(levels[1])
