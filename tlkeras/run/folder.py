"""A run's folder: written beside under another name, renamed when it is whole."""

import contextlib
import itertools
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tlkeras.data.tfds.name import short_name
from tlkeras.io.atomic import flush, flush_tree
from tlkeras.errors import UserError
from tlkeras.io.locks import is_locked, locked

log = logging.getLogger("tlkeras")
RUNS = Path("saved_models")
MODEL = "model.keras"
CHECKPOINTS = "checkpoints"  # in the folder of a run that is not finished
MEBIBYTE = 2**20


def choose_run_dir(run_dir: str | None, overwrite: bool, resume: str | None, data: str, backbone: str) -> Path:
    """Where the run goes: the folder that was asked for, or the first free `saved_models/DATA-BACKBONE[-N]`.

    Args:
        run_dir: the folder that was asked for.
        overwrite: whether it may replace a run that is there.
        resume: to go on with a run that was begun, the file that tells a finished one; else None. Without a folder it
            is the one with a default name that was touched last.
        data: the data set, for the default name.
        backbone: the same.

    Raises:
        UserError: when it exists and may not be replaced; or `data` begins with `tfds:` and cannot be understood.
    """
    name = short_name(data)  # a mistake in it is found whether it is used or not
    if run_dir is None:
        stem = re.sub(r"[^a-z0-9]+", "-", f"{name} {backbone}".lower()).strip("-")
        if found := unfinished(stem):
            if resume:
                return found[-1]
            print(f"Note: {found[-1]} was begun and not finished; this command with --resume would go on with it.")
        return free_name(RUNS / stem)
    path = Path(run_dir).expanduser()
    begun = has_checkpoints(partial_of(path))
    if path.exists() and not (overwrite or (resume and (begun or (path / resume).exists()))):
        raise UserError(f"--run-dir {path} exists already. Give another folder, or --overwrite to replace it.")
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / "config.yaml").exists())):
        raise UserError(
            f"--run-dir {path} is not a run's folder, so --overwrite does not replace it; give another one."
        )
    if begun and not (overwrite or resume):
        raise UserError(f"--run-dir {path} was begun and not finished. Give --resume to go on with it, --overwrite to "
                        "begin anew, or another folder.")  # fmt: skip
    return path


def is_complete(path: Path, file: str) -> bool:
    """Whether there is nothing to go on with, as the run is whole."""
    return (path / file).exists() and not has_checkpoints(partial_of(path))


def unfinished(stem: str) -> list[Path]:
    """The runs of a default name that were begun and that nobody works on now, the last touched one last."""
    pattern = re.compile(rf"\.({re.escape(stem)}(-\d+)?)\.partial")
    names = [match[1] for partial in RUNS.glob(".*.partial") if (match := pattern.fullmatch(partial.name))]
    paths = [RUNS / name for name in names if not is_locked(lock_of(RUNS / name))]
    times = {path: [file.stat().st_mtime for file in (partial_of(path) / CHECKPOINTS).glob("*.npz")] for path in paths}
    return sorted((path for path in paths if times[path]), key=lambda path: max(times[path]))


def lock_of(path: Path) -> Path:
    """The file whose lock the program holds that writes a run."""
    return path.with_name(f".{path.name}.lock")


def partial_of(path: Path) -> Path:
    """The folder that a run is written to until it is whole."""
    return path.with_name(f".{path.name}.partial")


def has_checkpoints(partial: Path) -> bool:
    """Whether there is anything to go on with."""
    return any((partial / CHECKPOINTS).glob("*.npz"))


def free_name(path: Path) -> Path:
    """The path, or with -2, -3, … behind it the first at which no run is finished, unfinished or being written."""
    names = (path.name if number == 1 else f"{path.name}-{number}" for number in itertools.count(1))
    return next(free for free in map(path.with_name, names)
                if not (free.exists() or has_checkpoints(partial_of(free)) or is_locked(lock_of(free))))  # fmt: skip


@contextlib.contextmanager
def run_directory(path: Path, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """A folder to write the run into; it becomes `path` when the block ends well.

    Where it does not, the folder is removed, unless there are checkpoints to go on with: after a stop, a full disk, or
    a mistake in going on. What a killed run left there is gone on with when `resume` asks for it, else cleared.

    Raises:
        UserError: the folder cannot be made; or another run writes it now; or one made `path` meanwhile: then this one
            lies beside it.
    """
    parents = [parent for parent in path.parents if not parent.exists()]
    partial = partial_of(path)
    try:
        with locked(lock_of(path), f"The run folder {path}"):
            goes_on = resume and has_checkpoints(partial)
            if not goes_on:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(exist_ok=True)
            with keep_on_interrupt(partial, path), log_file(partial / "log.txt"):
                yield partial
            put_in_place(partial, path, overwrite or goes_on)
    finally:
        with contextlib.suppress(OSError):  # folders that hold the run, or another one, stay
            for parent in parents:
                parent.rmdir()


@contextlib.contextmanager
def keep_on_interrupt(partial: Path, path: Path) -> Iterator[None]:
    """Remove the folder when the block fails, unless it can be gone on with; then the message says how."""
    begun = has_checkpoints(partial)
    try:
        yield
    except BaseException as error:
        mistake = isinstance(error, UserError)
        how = f"go on after what was finished with: {resume_command(path)}"
        if not has_checkpoints(partial) or (mistake and not begun):
            shutil.rmtree(partial, ignore_errors=True)
        elif isinstance(error, KeyboardInterrupt):
            raise type(error)(how) from None
        elif not mistake:
            error.add_note(f"Then {how}")
        raise


def resume_command(path: Path) -> str:
    """The command of this program, to be given again."""
    given = [word for word in sys.argv if word != "--overwrite"]
    named = any(word.partition("=")[0] == "--run-dir" for word in given)
    more = [] if named else ["--run-dir", str(path)]
    return shlex.join(["python", *given, *more, *([] if "--resume" in given else ["--resume"])])


def put_in_place(partial: Path, path: Path, replace: bool) -> None:
    """Rename a whole run to its place; what is there goes only if `replace`, and only after the new one is there.

    Args:
        partial: the run, under its hidden name.
        path: its place.
        replace: whether a run that is there already may go.

    Raises:
        UserError: another program was first; the message says where this run lies.
    """
    flush_tree(partial)
    if path.exists() and not replace:
        beside = free_name(path)
        partial.rename(beside)
        shutil.rmtree(beside / CHECKPOINTS, ignore_errors=True)
        raise UserError(f"{path} was made by another program while this run went on. This run lies in {beside}.")
    if path.exists():
        replaced = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        path.rename(replaced)
        partial.rename(path)
        shutil.rmtree(replaced)
    else:
        partial.rename(path)
    flush(path.parent)
    shutil.rmtree(path / CHECKPOINTS, ignore_errors=True)


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the program's messages to the terminal, and with the figures of each epoch to a file."""
    to_file, to_terminal = logging.FileHandler(path, encoding="utf-8"), logging.StreamHandler(sys.stdout)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    to_terminal.setLevel(logging.INFO)
    before = log.level, log.propagate, log.handlers
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.handlers = [to_file, to_terminal]  # a notebook's own would say everything twice
    try:
        yield
    finally:
        log.setLevel(before[0])
        log.propagate, log.handlers = before[1:]
        for handler in (to_file, to_terminal):
            handler.close()


def check_space(folder: Path, weights: int) -> None:
    """Refuse to start when the model would not fit on the disk.

    Args:
        folder: on the disk that is written to.
        weights: single weights of the backbone, four bytes each.

    Raises:
        UserError: with the space that is needed and the space that is there.
    """
    needed, free = weights * 4 + 5 * MEBIBYTE, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"The run needs about {needed / MEBIBYTE:,.0f} MiB in {folder.parent}, and {free / MEBIBYTE:,.0f} MiB are "
            "free. Free some space, or give another --run-dir."
        )
