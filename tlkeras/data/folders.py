"""A folder with one subfolder per class, with or without train, validation and test folders above them."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tlkeras.data.example import SPLIT_WORDS, Example, Source, Split
from tlkeras.errors import UserError

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"),
)
HOW_IT_SHOULD_LOOK = (
    "tlkeras reads " + " ".join(sorted(EXTENSIONS)) + " from a folder with one subfolder per class, such as "
    "flowers/daisy/1.jpg and flowers/rose/2.jpg, or with train, validation and test folders of such subfolders."
)


def find(root: Path, name: str) -> Source:
    """Lists the pictures below a folder, sorted by name; the first folder of the path is the class.

    Args:
        root: The folder. Hidden files and folders and `__MACOSX` are ignored; classes may have subfolders.
        name: What to call the source in messages.

    Raises:
        UserError: There is no such folder, it holds no pictures, or none of them lies in a class folder.
    """
    if not root.exists():
        raise UserError(
            f"There is no folder or file {root}. Give a folder of pictures, a .csv file, tfds:NAME or digits."
        )
    if not root.is_dir():
        raise UserError(f"{root} is a file that is not a .csv table. Give a folder of pictures or a .csv file.")
    notes: list[str] = []
    skipped: Counter[str] = Counter()
    examples: list[Example] = []
    for split, folder in _split_folders(root, notes):
        examples += _class_examples(root, folder, split, notes, skipped)
    if not examples:
        raise UserError(f"{root} holds no pictures. {HOW_IT_SHOULD_LOOK}")
    if skipped:
        kinds = ", ".join(f"{extension} ({count})" for extension, count in sorted(skipped.items()))
        notes.append(f"Files with other extensions were skipped: {kinds}.")
    examples.sort(key=lambda example: example.name)
    classes = sorted({str(example.label) for example in examples})
    return Source(name, examples, "single_label", classes, notes)


def _split_folders(root: Path, notes: list[str]) -> list[tuple[Split | None, Path]]:
    """Returns the train, validation and test folders, or the root alone where it has class folders at once."""
    folders = _visible_folders(root)
    found: dict[Split, Path] = {}
    others: list[str] = []
    for folder in folders:
        split = SPLIT_WORDS.get(folder.name.lower())
        if split is None:
            others.append(folder.name)
        elif split in found:
            raise UserError(
                f"{root} has two folders for {split}: {found[split].name} and {folder.name}. Keep one of them."
            )
        else:
            found[split] = folder
    # A lone "train" among other folders is a class (beside plane and bus), unless it holds folders of its own.
    if "train" not in found or (others and len(found) == 1 and not _visible_folders(found["train"])):
        return [(None, root)]
    if others:
        notes.append(f"Folders beside train were ignored: {', '.join(others)}.")
    # Where the source has a train folder only, nothing is said about validation and test: both are made.
    return list(found.items()) if len(found) > 1 else [(None, found["train"])]


def _class_examples(
    root: Path, folder: Path, split: Split | None, notes: list[str], skipped: Counter[str]
) -> list[Example]:
    """Lists the pictures in the class folders of one folder; adds to `notes` and counts `skipped` extensions."""
    examples: list[Example] = []
    for class_folder in _visible_folders(folder):
        pictures = list(_pictures(class_folder, skipped))
        if not pictures:
            notes.append(f"The folder {class_folder.relative_to(root).as_posix()} holds no pictures and was ignored.")
        examples += [Example(p.relative_to(root).as_posix(), class_folder.name, split, p) for p in pictures]
    loose = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in EXTENSIONS]
    if loose and not examples:
        raise UserError(
            f"The pictures lie directly in {folder}, so their classes are unknown. {HOW_IT_SHOULD_LOOK} "
            "A .csv file with the columns path and label works too."
        )
    if loose:
        notes.append(f"Pictures directly in {folder} were skipped, as no class folder holds them: {len(loose)}.")
    return examples


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name))


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be opened: {error.strerror}. Allow it, or move it elsewhere.") from None


def _pictures(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    """Yields the pictures in a folder and its subfolders; counts the extensions of all other visible files."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = filter(_is_visible, folders)
        for path in (Path(parent, file) for file in files if _is_visible(file)):
            if path.suffix.lower() in EXTENSIONS:
                yield path
            else:
                skipped[path.suffix.lower() or "none"] += 1
