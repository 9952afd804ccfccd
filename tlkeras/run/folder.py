"""A run's folder: written beside under another name, renamed when it is whole."""

import contextlib
import itertools
import json
import logging
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tlkeras.config import Task
from tlkeras.errors import UserError

log = logging.getLogger("tlkeras")
RUNS = Path("saved_models")
MEBIBYTE = 2**20


def choose_run_dir(run_dir: str | None, overwrite: bool, data: str, backbone: str) -> Path:
    """Where the run goes: the folder that was asked for, or the first free `saved_models/DATA-BACKBONE[-N]`.

    Raises:
        UserError: when it exists and may not be replaced, or cannot be written.
    """
    if run_dir is None:
        stem = re.sub(r"[^a-z0-9]+", "-", f"{Path(data).stem} {backbone}".lower()).strip("-")
        return free_name(RUNS / stem)
    path = Path(run_dir).expanduser()
    if path.exists() and not overwrite:
        raise UserError(f"--run-dir {path} exists already. Give another folder, or --overwrite to replace it.")
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / "config.yaml").exists())):
        raise UserError(
            f"--run-dir {path} is not a run's folder, so --overwrite does not replace it; give another one."
        )
    return path


def free_name(path: Path) -> Path:
    """The path, or with -2, -3, … behind it the first that is neither there nor being written by another run."""
    taken = {entry.name.partition(".partial-")[0].lstrip(".") for entry in path.parent.glob("*")}
    names = (path.name if number == 1 else f"{path.name}-{number}" for number in itertools.count(1))
    return path.with_name(next(name for name in names if name not in taken))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """A folder to write the run into; it becomes `path` when the block ends well, and is removed when it does not.

    Raises:
        UserError: the folder cannot be made; or another run made `path` meanwhile: then this one lies beside it.
    """
    replace = path.exists()
    parents = [parent for parent in path.parents if not parent.exists()]
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.mkdir(parents=True)
    except OSError as error:
        raise UserError(f"The run folder {path} cannot be made: {error.strerror}. Give another --run-dir.") from None
    try:
        with log_file(partial / "log.txt"):
            yield partial
        put_in_place(partial, path, replace)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # folders that hold the run, or another one, stay
            for parent in parents:
                parent.rmdir()


def put_in_place(partial: Path, path: Path, replace: bool) -> None:
    """Rename a whole run to its place; what is there goes only if `replace`, and only after the new one is there."""
    if path.exists() and not replace:
        beside = free_name(path)
        partial.rename(beside)
        raise UserError(f"{path} was made by another program while this run went on. This run lies in {beside}.")
    if path.exists():
        replaced = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        path.rename(replaced)
        partial.rename(path)
        shutil.rmtree(replaced)
    else:
        partial.rename(path)


@contextlib.contextmanager
def log_file(path: Path) -> Iterator[None]:
    """Send the program's messages to the terminal, and with the figures of each epoch to a file."""
    to_file, to_terminal = logging.FileHandler(path, encoding="utf-8"), logging.StreamHandler(sys.stdout)
    to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    to_terminal.setLevel(logging.INFO)
    before = log.level, log.propagate
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for handler in (to_file, to_terminal):
        log.addHandler(handler)
    try:
        yield
    finally:
        for handler in (to_file, to_terminal):
            log.removeHandler(handler)
            handler.close()
        log.setLevel(before[0])
        log.propagate = before[1]


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


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """A mapping as YAML, in its own order."""
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Values as indented JSON."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Run:
    """What `evaluate.py` and `predict.py` need of a run's folder, without its model.

    Attributes:
        path: the folder.
        task: what the outputs mean.
        classes: names of the outputs; empty for regression.
        config: options of the run, with the image size and weights that were really used.
    """

    path: Path
    task: Task
    classes: list[str]
    config: dict[str, Any]


def open_run(path: str) -> Run:
    """Read a run's folder, as far as that goes without TensorFlow.

    Raises:
        UserError: when it is not one.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"There is no run folder {folder}. Give a folder that scripts/train.py wrote.")
    try:
        labels = json.loads((folder / "labels.json").read_text(encoding="utf-8"))
        config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
        run = Run(folder, labels["task"], labels["classes"], config)
        config["image_size"] + config["batch_size"] + config["max_unreadable"] + len(config["data"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        raise UserError(
            f"{folder} is not a whole run folder: labels.json or config.yaml is missing or damaged. "
            "Give a folder that scripts/train.py wrote."
        ) from None
    check_model_file(folder / "model.keras")
    return run


def check_model_file(path: Path) -> None:
    """Refuse what cannot be a Keras model, as far as that can be told without TensorFlow.

    Raises:
        UserError: when the file is missing, is not a zip archive, or holds no configuration and weights.
    """
    if not path.is_file():
        raise UserError(f"There is no model file {path}.")
    what = "a .keras file is a zip archive with config.json and model.weights.h5 inside"
    try:
        with zipfile.ZipFile(path) as archive:
            whole = {"config.json", "model.weights.h5"} <= set(archive.namelist())
    except (zipfile.BadZipFile, EOFError):
        raise UserError(f"{path} is not a Keras model: {what}, and this is no archive, or a damaged one.") from None
    if not whole:
        raise UserError(f"{path} is not a Keras model: {what}, and this one lacks them.")
