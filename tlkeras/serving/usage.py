"""Keep what the service is used for in a log for drift.py, written every minute and at the end."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlkeras.errors import UserError
from tlkeras.run.load_run import Run
from tlkeras.run.usage_log import UsageLog

PERIOD = 60.0  # seconds
log = logging.getLogger("tlkeras.serving")


@contextmanager
def usage_log(path: Path, run: Run) -> Iterator[UsageLog]:
    """Yield a log to which batches are added; where it cannot be written at some time, the service continues."""
    usage, stopped = UsageLog(path, run), threading.Event()

    def save() -> None:
        try:
            usage.save()
        except (OSError, UserError) as error:
            log.warning("Note: the log %s cannot be written now: %s", path, error)

    def work() -> None:
        while not stopped.wait(PERIOD):
            save()

    thread = threading.Thread(target=work, name="usage")
    thread.start()
    try:
        yield usage
    finally:
        stopped.set()
        thread.join()
        save()
