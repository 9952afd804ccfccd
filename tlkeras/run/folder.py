"""A run's folder: written under a hidden name beside it, and renamed when the run is complete."""

import contextlib
import errno
import itertools
import logging
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from tlkeras.data.sources import short_name
from tlkeras.errors import UserError
from tlkeras.io.atomic import flush, flush_tree
from tlkeras.io.locks import is_locked, locked

log = logging.getLogger("tlkeras")
RUNS = Path("saved_models")
CHECKPOINTS = "checkpoints"  # in the folder of an unfinished run
MEBIBYTE = 2**20


def choose_run_dir(run_dir: str | None, overwrite: bool, resume: str | None, data: str, backbone: str) -> Path:
    """Return the folder that was asked for, or the first free `saved_models/DATA-BACKBONE[-N]`.

    To resume a run, `resume` is the file by which a finished one is known; without a folder, the unfinished run with a
    default name is resumed that was written last. Refuse a folder that may not be replaced, and data that cannot be
    understood.
    """
    name = short_name(data)  # a mistake in it is found whether it is used or not
    if run_dir is None:
        name = re.sub(r"[^a-z0-9]+", "-", f"{name} {backbone}".lower()).strip("-")
        if (unfinished := unfinished_runs(name)) and resume:
            return unfinished[-1]
        if unfinished:
            print(f"Note: {unfinished[-1]} was started and not finished; this command with --resume would resume it.")
        return free_path(RUNS / name)
    path = Path(run_dir).expanduser()
    if path.is_symlink():  # the link stays; what it leads to is written
        path = path.resolve()
    started = checkpoints(hidden(path))
    if path.exists() and not (overwrite or (resume and (started or (path / resume).exists()))):
        raise UserError(f"--run-dir {path} exists already. Give another folder, or --overwrite to replace it.")
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / "config.yaml").exists())):
        raise UserError(f"--run-dir {path} is not a run's folder, so --overwrite does not replace it; give another.")
    if started and not (overwrite or resume):
        raise UserError(
            f"--run-dir {path} was started and not finished. Give --resume to resume it, --overwrite to start over, or "
            "another folder."
        )
    return path


def is_complete(path: Path, file: str) -> bool:
    """Return whether the run is finished, as its last file tells, and there is nothing to resume."""
    return (path / file).exists() and not checkpoints(hidden(path))


def unfinished_runs(name: str) -> list[Path]:
    """Return the runs of a default name that can be resumed and that nobody writes now, the last written one last."""
    pattern = re.compile(rf"\.({re.escape(name)}(-\d+)?)\.partial")
    paths = [RUNS / match[1] for partial in RUNS.glob(".*.partial") if (match := pattern.fullmatch(partial.name))]
    paths = [path for path in paths if checkpoints(hidden(path)) and not is_locked(hidden(path, "lock"))]
    return sorted(paths, key=lambda path: max(file.stat().st_mtime for file in checkpoints(hidden(path))))


def hidden(path: Path, kind: str = "partial") -> Path:
    """Return the folder that a run is written to until it is complete; or the file that is locked meanwhile."""
    return path.with_name(f".{path.name}.{kind}")


def checkpoints(partial: Path) -> list[Path]:
    """Return the checkpoints from which a run can be resumed."""
    return list((partial / CHECKPOINTS).glob("*.npz"))


def free_path(path: Path) -> Path:
    """Return the path, or the first of path-2, path-3, …, where no run is finished, unfinished or being written."""
    for number in itertools.count(1):
        free = path if number == 1 else path.with_name(f"{path.name}-{number}")
        if not (free.exists() or checkpoints(hidden(free)) or is_locked(hidden(free, "lock"))):
            break
    return free


@contextlib.contextmanager
def run_directory(path: Path, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """Make a folder to write the run into; it becomes `path` when the block ends well.

    Where it does not, the folder is removed, unless it has checkpoints to resume from: after a stop, a full disk, or a
    mistake in resuming. What a killed run left is resumed when `resume` asks for it, else removed. Refuse a folder that
    cannot be made or that another program writes now; where one made `path` meanwhile, this run gets another name.
    """
    missing = [parent for parent in path.parents if not parent.exists()]
    partial = hidden(path)
    try:
        with locked(hidden(path, "lock"), f"The run folder {path}"):
            resumed = resume and bool(checkpoints(partial))
            if not resumed:
                shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(exist_ok=True)
            with keep_on_interrupt(partial, path, resumed), log_file(partial / "log.txt"):
                if overwrite or resumed:
                    check_replaceable(path)
                yield partial
            move_into_place(partial, path, overwrite or resumed)
    finally:
        with contextlib.suppress(OSError):  # folders that hold the run, or another one, stay
            for parent in missing:
                parent.rmdir()


@contextlib.contextmanager
def keep_on_interrupt(partial: Path, path: Path, resumed: bool) -> Iterator[None]:
    """Remove the folder when the block fails, unless the run can be resumed; then the message says how."""
    try:
        yield
    except BaseException as error:
        mistake = isinstance(error, UserError)
        how = f"resume it with: {resume_command(path)}"
        if not checkpoints(partial) or (mistake and not resumed):
            shutil.rmtree(partial, ignore_errors=True)
        elif isinstance(error, KeyboardInterrupt):
            raise type(error)(f"what it saved is in {partial}; {how}") from None
        elif not mistake:
            error.add_note(f"Then {how}")
        raise


def resume_command(path: Path) -> str:
    """Return the command of this program with what resumes the run; or what to add to a call from Python."""
    if not (sys.argv[0].startswith("tlkeras ") or Path(sys.argv[0]).resolve().parent.name == "scripts"):
        return f"tlkeras.train(..., run_dir={str(path)!r}, resume=True)"
    given = [word for word in sys.argv[1:] if word != "--overwrite"]
    named = any(word.partition("=")[0].replace("_", "-") == "--run-dir" for word in given)
    more = [] if named else ["--run-dir", str(path)]
    return command_line("", *given, *more, *([] if "--resume" in given else ["--resume"]))


def command_line(command: str, *words: str | Path) -> str:
    """Return the shell's line for this command, or for another one that is started in the same way."""
    name = sys.argv[0]
    if name.startswith("tlkeras "):
        start = ["-m", "tlkeras", command or name.partition(" ")[2]]
    else:
        start = [str(Path(name).with_name(f"{command}.py")) if command else name]
    return shlex.join(["python", *start, *map(str, words)])


def check_replaceable(path: Path) -> None:
    """Refuse a folder that cannot be renamed, such as a mounted volume: when the run is complete it would be late."""
    if not path.exists():
        return
    replaced = hidden(path, f"replaced-{os.getpid()}")
    try:
        path.rename(replaced)
        replaced.rename(path)
    except OSError as error:
        what = "a mounted volume" if path.is_mount() or error.errno == errno.EBUSY else f"fixed ({error.strerror})"
        raise UserError(f"--run-dir {path} is {what}, and a run's folder is replaced as a whole. Give a folder in it, "
                        f"such as {path / 'run'}.") from None  # fmt: skip


def move_into_place(partial: Path, path: Path, replace: bool) -> None:
    """Rename a complete run to its path; what is there goes only if `replace`, and only after the new one is there."""
    flush_tree(partial)
    if path.exists() and not replace:
        other = free_path(path)
        partial.rename(other)
        shutil.rmtree(other / CHECKPOINTS, ignore_errors=True)
        raise UserError(f"{path} was made by another program during this run. This run is kept in {other}.")
    replaced = hidden(path, f"replaced-{os.getpid()}")
    if path.exists():
        path.rename(replaced)
    partial.rename(path)
    flush(path.parent)
    shutil.rmtree(replaced, ignore_errors=True)
    shutil.rmtree(path / CHECKPOINTS, ignore_errors=True)


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the program's messages to the terminal and, with the metrics of each epoch, to a file."""
    to_file, to_terminal = logging.FileHandler(path, encoding="utf-8"), logging.StreamHandler(sys.stdout)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    to_terminal.setLevel(logging.INFO)
    before = log.level, log.propagate, log.handlers
    log.setLevel(logging.DEBUG)
    log.propagate, log.handlers = False, [to_file, to_terminal]  # a notebook's own would say everything twice
    try:
        yield
    finally:
        log.setLevel(before[0])
        log.propagate, log.handlers = before[1:]
        to_file.close()


def check_space(folder: Path, num_params: int) -> None:
    """Refuse to start when a run that saves so many parameters, four bytes each, would not fit on the folder's disk."""
    needed, free = num_params * 4 + 5 * MEBIBYTE, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"The run needs about {needed / MEBIBYTE:,.0f} MiB in {folder.parent}, and {free / MEBIBYTE:,.0f} MiB are "
            "free. Free some space, or give another --run-dir."
        )
