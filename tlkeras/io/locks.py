"""One program at a time: a lock that the system itself releases when its holder dies."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from tlkeras.errors import UserError

NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)  # the file system has none: nobody is kept out


@contextlib.contextmanager
def locked(path: Path, what: str, instead: str = "another --run-dir", wait: float = 0) -> Iterator[None]:
    """Hold a lock on a file, which is made for it and removed afterwards; refuse to write `what` where it is taken.

    It is waited for so many seconds; `instead` is what to give then.
    """
    lock = FileLock(path, timeout=wait)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        if not path.exists():  # filelock waits for a file that it cannot create, as in /proc
            raise UserError(f"{what} cannot be made: no file can be created there. Give {instead}.") from None
        raise UserError(f"{what} is being written by another program. Wait for it, or give {instead}.") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            reason = "Not a directory" if isinstance(error, FileExistsError) else error.strerror
            raise UserError(f"{what} cannot be made: {reason}. Give {instead}.") from None
    try:
        yield
    finally:
        if os.name != "nt":  # where an open file cannot be removed
            path.unlink(missing_ok=True)  # while it is held: whoever waits for it then sees that it is gone
        lock.release()


def is_locked(path: Path) -> bool:
    """Return whether another program holds the lock."""
    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError as error:
        if error.errno in NO_LOCKS:
            return False
        raise
