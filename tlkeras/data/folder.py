"""A folder with one subfolder per class, with or without train, validation and test folders above them."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from tlkeras.config import ModalityName
from tlkeras.data.example import SPLIT_WORDS, Example, DatasetListing, Split
from tlkeras.modalities.base import SUFFIXES, count_forms, majority
from tlkeras.errors import UserError

EXAMPLES = {
    "pictures": "flowers/daisy/1.jpg and flowers/rose/2.jpg",
    "texts": "reviews/good/1.txt and reviews/bad/2.txt",
    "sounds": "birds/robin/1.wav and birds/wren/2.wav",
}


def find(root: Path, name: str, form: ModalityName | Literal[""] = "pictures") -> DatasetListing:
    """Lists the pictures, texts or sounds below a folder, sorted by name; the first folder of the path is the class.

    Args:
        root: The folder. Hidden files and folders and `__MACOSX` are ignored; classes may have subfolders.
        name: What to call the source in messages.
        form: What to look for. If it is pictures, all other files are skipped, with a note. Else the files themselves
            say what they are, and few others are skipped.

    Raises:
        UserError: There is no such folder, it holds nothing of any form or a mixture, or none of it lies in a class
            folder.
    """
    if not root.exists():
        raise UserError(
            f"There is no folder or file {root}. Give a folder of pictures, a .csv file, tfds:NAME or digits."
        )
    if not root.is_dir():
        raise UserError(f"{root} is a file that is not a .csv table. Give a folder of pictures or a .csv file.")
    if form != "pictures":
        form = _form_of(root, form)
    notes: list[str] = []
    skipped: Counter[str] = Counter()
    examples: list[Example] = []
    for split, folder in _split_folders(root, notes):
        examples += _class_examples(root, folder, split, form, notes, skipped)
    if not examples:
        others = [f"{number:,} {other}" for other, number in count_forms(skipped).items() if number]
        but = f", but {' and '.join(others)}, which a hub module (hub:HANDLE) may take" if others else ""
        raise UserError(f"{root} holds no {form}{but}. {_how_it_should_look(form)}")
    if skipped:
        kinds = ", ".join(f"{extension} ({count})" for extension, count in sorted(skipped.items()))
        notes.append(f"Files with other extensions were skipped: {kinds}.")
    examples.sort(key=lambda example: example.name)
    classes = sorted({str(example.label) for example in examples})
    return DatasetListing(name, examples, "single_label", classes, notes, form)


def _how_it_should_look(form: ModalityName) -> str:
    return (
        f"tlkeras reads {' '.join(sorted(SUFFIXES[form]))} from a folder with one subfolder per class, "
        f"such as {EXAMPLES[form]}, or with train, validation and test folders of such subfolders."
    )


def _form_of(root: Path, wanted: ModalityName | Literal[""]) -> ModalityName:
    """Tells from the files in a folder's subfolders what they are; where there are none of any form, `wanted`."""
    suffixes: Counter[str] = Counter()
    for folder in _visible_folders(root):
        list(_files(folder, frozenset(), suffixes))
    counts = count_forms(suffixes)
    if not counts.total() and suffixes and not wanted:
        kinds = "; ".join(f"{name}: {' '.join(sorted(SUFFIXES[name]))}" for name in SUFFIXES)
        raise UserError(
            f"{root} holds neither pictures nor texts nor sounds that tlkeras reads, but files that end in "
            f"{', '.join(sorted(suffixes))}. Known are {kinds}."
        )
    return majority(counts, str(root)) if counts.total() else wanted or "pictures"


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
    root: Path, folder: Path, split: Split | None, form: ModalityName, notes: list[str], skipped: Counter[str]
) -> list[Example]:
    """Lists what is in the class folders of one folder; adds to `notes` and counts `skipped` extensions."""
    examples: list[Example] = []
    for class_folder in _visible_folders(folder):
        files = list(_files(class_folder, SUFFIXES[form], skipped))
        if not files:
            notes.append(f"The folder {class_folder.relative_to(root).as_posix()} holds no {form} and was ignored.")
        examples += [Example(p.relative_to(root).as_posix(), class_folder.name, split, p) for p in files]
    loose = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in SUFFIXES[form]]
    if loose and not examples:
        raise UserError(
            f"The {form} lie directly in {folder}, so their classes are unknown. {_how_it_should_look(form)} "
            "A .csv file with the columns path and label works too."
        )
    if loose:
        notes.append(
            f"{form.capitalize()} directly in {folder} were skipped, as no class folder holds them: {len(loose)}."
        )
    return examples


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and _is_visible(path.name))


def _is_visible(name: str) -> bool:
    return not name.startswith(".") and name != "__MACOSX"


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be opened: {error.strerror}. Allow it, or move it elsewhere.") from None


def _files(folder: Path, suffixes: frozenset[str], skipped: Counter[str]) -> Iterator[Path]:
    """Yields the files with certain extensions in a folder and its subfolders; counts those of all visible others."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = filter(_is_visible, folders)
        for path in (Path(parent, file) for file in files if _is_visible(file)):
            if path.suffix.lower() in suffixes:
                yield path
            else:
                skipped[path.suffix.lower() or "none"] += 1
