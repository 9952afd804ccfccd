"""A folder with one subfolder per class, with or without train, validation and test folders above them."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tlkeras.backbones.registry import prefixes
from tlkeras.data.example import SPLIT_WORDS, DatasetListing, Example, Split
from tlkeras.errors import UserError
from tlkeras.modalities.base import Modality, count_modalities, known_modalities, majority
from tlkeras.modalities.image import ImageModality


def find(root: Path, name: str, modality: type[Modality] | None = ImageModality) -> DatasetListing:
    """List the examples below a folder, sorted by name; the first folder of a path is the class.

    Hidden files and folders and `__MACOSX` are ignored; classes may have subfolders. Where images are looked for, all
    other files are skipped, with a note; else the files themselves tell what they are, and few others are skipped.
    """
    if not root.exists():
        raise UserError(f"There is no folder or file {root}. Give a folder of images, a .csv file or digits.")
    if not root.is_dir():
        raise UserError(f"{root} is a file that is not a .csv table. Give a folder of images or a .csv file.")
    if not (modality and modality.skips_others):
        modality = _modality_of(root, modality)
    notes: list[str] = []
    skipped: Counter[str] = Counter()
    examples: list[Example] = []
    for split, folder in _split_folders(root, notes):
        examples += _class_examples(root, folder, split, modality, notes, skipped)
    if not examples:
        others = [other.count_noun(count) for other, count in count_modalities(skipped).items() if count]
        found = f"{' and '.join(others)}, but " if others else ""
        takers = f"a backbone that takes them ({', '.join(prefixes())}), or " if prefixes() else ""
        advice = f" Give {takers}{modality.plural}." if others else ""
        raise UserError(f"{root} holds {found}no {modality.plural}.{advice} {_expected_layout(modality)}")
    if skipped:
        kinds = ", ".join(f"{extension} ({count})" for extension, count in sorted(skipped.items()))
        notes.append(f"Skipped files with other extensions: {kinds}.")
    examples.sort(key=lambda example: example.name)
    classes = sorted({str(example.label) for example in examples})
    return DatasetListing(name, examples, "single_label", classes, notes, modality)


def is_visible(name: str) -> bool:
    """Return whether a file or folder counts: not hidden, and not what macOS puts into archives."""
    return not name.startswith(".") and name != "__MACOSX"


def _expected_layout(modality: type[Modality]) -> str:
    return (
        f"tlkeras reads {' '.join(sorted(modality.suffixes))} from a folder with one subfolder per class, "
        f"such as {modality.folder_example}, or with train, validation and test folders of such subfolders."
    )


def _modality_of(root: Path, wanted: type[Modality] | None) -> type[Modality]:
    """Tell from the files in subfolders what they are; where there are none of any modality, what is wanted."""
    suffixes: Counter[str] = Counter()
    for folder in _visible_folders(root):
        list(_files(folder, frozenset(), suffixes))
    counts = count_modalities(suffixes)
    if not counts.total() and suffixes and not wanted:
        kinds = "; ".join(f"{one.plural}: {' '.join(sorted(one.suffixes))}" for one in known_modalities())
        raise UserError(
            f"{root} holds nothing that tlkeras reads, but files that end in {', '.join(sorted(suffixes))}. "
            f"Known are {kinds}."
        )
    return majority(counts, str(root)) if counts.total() else wanted or ImageModality


def _split_folders(root: Path, notes: list[str]) -> list[tuple[Split | None, Path]]:
    """Return the train, validation and test folders, or the root alone where it has class folders at once."""
    found: dict[Split, Path] = {}
    folders = _visible_folders(root)
    others = [folder.name for folder in folders if folder.name.lower() not in SPLIT_WORDS]
    for folder in folders:
        split = SPLIT_WORDS.get(folder.name.lower())
        if split and (first := found.setdefault(split, folder)) != folder:
            raise UserError(f"{root} has two folders for {split}: {first.name} and {folder.name}. Keep one of them.")
    # A lone "train" among other folders is a class (beside plane and bus), unless it holds folders of its own.
    if "train" not in found or (others and len(found) == 1 and not _visible_folders(found["train"])):
        return [(None, root)]
    if others:
        notes.append(f"Ignored folders beside train: {', '.join(others)}.")
    # Where the source has a train folder only, nothing is said about validation and test: both are made.
    return list(found.items()) if len(found) > 1 else [(None, found["train"])]


def _class_examples(
    root: Path, folder: Path, split: Split | None, modality: type[Modality], notes: list[str], skipped: Counter[str]
) -> list[Example]:
    """List what is in the class folders of one folder; add to `notes` and count `skipped` extensions."""
    examples: list[Example] = []
    for class_folder in _visible_folders(folder):
        files = list(_files(class_folder, modality.suffixes, skipped))
        if not files:
            name = class_folder.relative_to(root).as_posix()
            notes.append(f"Ignored the folder {name}: it holds no {modality.plural}.")
        examples += [Example(p.relative_to(root).as_posix(), class_folder.name, split, p) for p in files]
    loose = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in modality.suffixes]
    if loose and not examples:
        raise UserError(
            f"The {modality.plural} lie directly in {folder}, so their classes are unknown. "
            f"{_expected_layout(modality)} A .csv file with the columns path and label works too."
        )
    if loose:
        notes.append(f"Skipped {modality.count_noun(len(loose))} directly in {folder}, outside of the class folders.")
    return examples


def _visible_folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_visible(path.name))


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename} cannot be opened: {error.strerror}. Allow it, or move it elsewhere.") from None


def _files(folder: Path, suffixes: frozenset[str], skipped: Counter[str]) -> Iterator[Path]:
    """Yield the files with certain extensions in a folder and its subfolders; count those of all visible others."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        folders[:] = filter(is_visible, folders)
        for path in (Path(parent, file) for file in files if is_visible(file)):
            if path.suffix.lower() in suffixes:
                yield path
            else:
                skipped[path.suffix.lower() or "none"] += 1
