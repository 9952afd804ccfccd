"""One program at a time: a lock that the system itself lets go of when its holder dies."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tlkeras.errors import UserError


@contextlib.contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold a lock on a file, which is made for it and removed afterwards.

    Args:
        path: the file.
        what: is written under this lock, for the message.

    Raises:
        UserError: another program holds the lock, or the file cannot be made.
    """
    try:
        with contextlib.suppress(FileExistsError):  # a file that is no folder, as opening will say
            path.parent.mkdir(parents=True)
        file = path.open("a+b")
    except OSError as error:
        raise UserError(f"{what} cannot be made: {error.strerror}. Give another --run-dir.") from None
    with file:
        if not take(file) or not is_at(file, path):  # it may be removed between opening and locking
            raise UserError(f"{what} is being written by another program. Wait for it, or give another --run-dir.")
        try:
            yield
        finally:
            if os.name != "nt":  # where an open file cannot be removed
                path.unlink(missing_ok=True)


def is_locked(path: Path) -> bool:
    """Whether another program holds the lock."""
    if not path.exists():
        return False
    with path.open("a+b") as file:
        return not take(file)


def take(file: BinaryIO) -> bool:
    """Lock an open file for this program alone; False where another one has done so.

    On a file system that knows no locks there is nothing to be had, and nobody is kept out.
    """
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        pass
    return True


def is_at(file: BinaryIO, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    try:
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    except FileNotFoundError:
        return False
