"""Move files that hurt out of a folder of images, and bring them back."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from tlkeras.data.folder import QUARANTINE as FOLDER
from tlkeras.errors import UserError
from tlkeras.io.atomic import open_atomic

MANIFEST = "manifest.json"


def move_away(root: Path, names: Sequence[str]) -> int:
    """Move files of a folder, named relative to it, into its quarantine; return how many there are now."""
    folder = root / FOLDER
    moved = manifest_of(root) if (folder / MANIFEST).is_file() else []
    folder.mkdir(exist_ok=True)
    if occupied := [name for name in names if os.path.lexists(folder / name)]:
        raise UserError(f"{folder / occupied[0]} exists already, from an earlier --fix. Give --undo first.")
    # First the list, then the files: whatever stops the program, all that was moved is in it.
    with open_atomic(folder / MANIFEST, "w") as file:
        json.dump([*moved, *names], file, indent=2, ensure_ascii=False)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).rename(folder / name)
    return len(names)


def bring_back(root: Path) -> int:
    """Move all files back to where they were, and remove the quarantine; refuse to replace a file."""
    folder = root / FOLDER
    if not (folder / MANIFEST).is_file():
        raise UserError(f"There is nothing to undo: {root} has no {FOLDER}/{MANIFEST}, which --fix writes.")
    names = [name for name in manifest_of(root) if os.path.lexists(folder / name)]
    if occupied := [name for name in names if os.path.lexists(root / name)]:
        raise UserError(f"{root / occupied[0]} exists, so the file of this name cannot come back. Move it elsewhere.")
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).rename(root / name)
    (folder / MANIFEST).unlink()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    if not any(folder.iterdir()):
        folder.rmdir()
    return len(names)


def manifest_of(root: Path) -> list[str]:
    """Return the names of the files that were moved away."""
    try:
        names = json.loads((root / FOLDER / MANIFEST).read_text(encoding="utf-8"))
    except ValueError:
        names = None
    if not isinstance(names, list) or any(Path(name).is_absolute() or ".." in Path(name).parts for name in names):
        raise UserError(f"{root / FOLDER / MANIFEST} is damaged. Move the files beside it back by hand.")
    return names
