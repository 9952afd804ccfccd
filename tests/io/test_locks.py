"""One program at a time."""

import errno
import subprocess
import sys
import time

import pytest

from tlkeras.errors import UserError
from tlkeras.io.locks import is_locked, locked

HOLD = """
import sys, time
from pathlib import Path
from tlkeras.io.locks import locked
with locked(Path(sys.argv[1]), "The run folder x"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_at_once_and_let_in_when_the_first_is_killed(tmp_path):
    lock = tmp_path / ".run.lock"
    process = subprocess.Popen([sys.executable, "-c", HOLD, lock], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        assert is_locked(lock)
        begin = time.monotonic()
        with pytest.raises(UserError, match="The run folder x is being written by another program"):
            hold(lock)
        assert time.monotonic() - begin < 1
    finally:
        process.kill()
        process.communicate()
    assert not is_locked(lock)
    hold(lock)
    assert not lock.exists()


def hold(lock) -> None:
    with locked(lock, "The run folder x"):
        assert lock.exists()


def test_this_program_is_refused_too(tmp_path):
    lock = tmp_path / ".run.lock"
    with locked(lock, "The run folder x"):
        assert is_locked(lock)
        with pytest.raises(UserError, match="being written by another program"):
            hold(lock)
        assert lock.exists()
    assert not is_locked(lock)


@pytest.mark.filterwarnings("ignore:flock not supported on this filesystem")
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS])
def test_a_file_system_without_locks_keeps_nobody_out(tmp_path, monkeypatch, number):
    fcntl = pytest.importorskip("fcntl")

    def flock(*_):
        raise OSError(number, "not here")

    monkeypatch.setattr(fcntl, "flock", flock)
    hold(tmp_path / ".run.lock")
    assert not is_locked(tmp_path / ".run.lock")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for lock in (tmp_path / "file" / ".run.lock", tmp_path / "file" / "a" / ".run.lock"):
        with pytest.raises(UserError, match="The run folder x cannot be made: Not a directory"):
            hold(lock)
