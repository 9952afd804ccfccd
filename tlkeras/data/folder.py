"""A folder with one subfolder per class, with or without train, validation and test folders above them."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from tlkeras.backbones.registry import prefixes
from tlkeras.data.example import SPLIT_WORDS, DatasetListing, Example, Split, plain_text, split_of
from tlkeras.errors import UserError
from tlkeras.modalities.base import Modality, count_modalities, known_modalities, majority
from tlkeras.modalities.image import ImageModality

QUARANTINE = ".quarantine"  # where check_data.py --fix moves files; hidden, so that training ignores it
# Folders that systems leave in others, in lower case: archives and trash, thumbnails.
SYSTEM_FOLDERS = frozenset(
    ("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "lost+found", "system volume information",
     "thumbs", "thumbnails")
)  # fmt: skip


def find(root: Path, name: str, modality: type[Modality] | None = ImageModality) -> DatasetListing:
    """List the examples below a folder, sorted by name; the first folder of a path is the class.

    Hidden and system folders are ignored; classes may have subfolders. Where images are looked for, all other files are
    skipped, with a note; else the files themselves tell what they are, and few others are skipped.
    """
    if not root.exists():
        raise UserError(f"There is no folder or file {root}. Give a folder of images, a .csv file or digits.")
    if not root.is_dir():
        raise UserError(f"{root} is a file that is not a .csv table. Give a folder of images or a .csv file.")
    if not (modality and modality.skips_others):
        modality = _modality_of(root, modality)
    notes: list[str] = []
    skipped: Counter[str] = Counter()
    folders = _split_folders(root, notes, skipped)
    parts = {split: _class_examples(root, folders, split, modality, notes, skipped) for split in folders}
    examples = [example for part in _labeled(parts, folders, modality, notes).values() for example in part]
    hidden = sorted(name.rstrip("/") for name in skipped if name.endswith("/") and name != f"{QUARANTINE}/")
    files = {name: count for name, count in sorted(skipped.items()) if not name.endswith("/")}
    if not examples:
        others = [other.count_noun(count) for other, count in count_modalities(files).items() if count]
        found = f"{' and '.join(others)}, but " if others else ""
        takers = f"a backbone that takes them ({', '.join(prefixes())}), or " if prefixes() else ""
        advice = f" Give {takers}{modality.plural}." if others else ""
        raise UserError(f"{root} holds {found}no {modality.plural}.{advice} {_expected_layout(modality)}")
    if files:
        kinds = ", ".join(f"{extension} ({count})" for extension, count in files.items())
        notes.append(f"Skipped files with other extensions: {kinds}.")
    if hidden:
        notes.append(f"Ignored hidden and system folders: {', '.join(hidden)}. Rename one to use it.")
    examples.sort(key=lambda example: example.name)
    classes = sorted({str(example.label) for example in examples})
    return DatasetListing(name, examples, "single_label", classes, notes, modality)


def is_visible(name: str) -> bool:
    """Return whether a file or folder counts: not hidden, and not what a system leaves in folders."""
    return not name.startswith(".") and name.lower() not in SYSTEM_FOLDERS


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
    suffixes = Counter({suffix: count for suffix, count in suffixes.items() if not suffix.endswith("/")})
    counts = count_modalities(suffixes)
    if not counts.total() and suffixes and not wanted:
        kinds = "; ".join(f"{one.plural}: {' '.join(sorted(one.suffixes))}" for one in known_modalities())
        raise UserError(
            f"{root} holds nothing that tlkeras reads, but files that end in {', '.join(sorted(suffixes))}. "
            f"Known are {kinds}."
        )
    return majority(counts, str(root)) if counts.total() else wanted or ImageModality


def _split_folders(root: Path, notes: list[str], skipped: Counter[str]) -> dict[Split | None, Path]:
    """Return the train, validation and test folders, or the root alone where it has class folders at once."""
    folders = _visible_folders(root, skipped)
    named = [(split_of(folder.name), folder) for folder in folders]
    found = {split: folder for split, folder in reversed(named) if split}
    others = [folder.name for split, folder in named if not split]
    nested = {split: _visible_folders(folder) for split, folder in found.items()}
    # A lone "train" among other folders is a class (beside plane and bus), unless it holds folders of its own.
    if "train" in found:
        is_split = bool(nested["train"]) or len(found) > 1 or not others
    else:
        is_split = not others and bool(found) and all(nested.values())
    if not is_split:
        if found:
            words = " and ".join(folder.name for folder in found.values())
            what = "a class" if len(found) == 1 else "classes"
            notes.append(f"Read {words} as {what}, like the other folders. Move elsewhere what is not a class.")
        return {None: root}
    for split, folder in named:
        if split and (first := found[split]) != folder:
            raise UserError(f"{root} has two folders for {split}: {first.name} and {folder.name}. Keep one of them.")
    if others:
        notes.append(f"Ignored folders beside {found['train'].name}: {', '.join(others)}.")
    if guessed := [f"{path.name} ({split})" for split, path in found.items() if not _is_plain(path.name, split)]:
        notes.append(f"Read as splits: {', '.join(guessed)}. Rename these folders if they are classes.")
    # Such as seg_train/seg_train.
    return {
        split: nested[split][0] if [split_of(inner.name) for inner in nested[split]] == [split] else folder
        for split, folder in found.items()
    }


def _is_plain(name: str, split: Split) -> bool:
    """Return whether nobody could take a name for a class: val and training, but not dev or train_images."""
    return name.lower() in SPLIT_WORDS and name.lower()[0] == split[0]


def _class_examples(
    root: Path,
    folders: dict[Split | None, Path],
    split: Split | None,
    modality: type[Modality],
    notes: list[str],
    skipped: Counter[str],
) -> list[Example]:
    """List what is in the class folders of a split; add to `notes` and count `skipped` extensions and folders."""
    folder, examples, deep = folders[split], [], []
    class_folders = _visible_folders(folder, skipped)
    for class_folder in _without_copies(root, class_folders, notes):
        name = class_folder.relative_to(root).as_posix()
        files = list(_files(class_folder, modality.suffixes, skipped))
        if not files:
            notes.append(f"Ignored the folder {name}: it holds no {modality.plural}.")
        inner = {path.relative_to(class_folder).parts[0] for path in files if path.parent != class_folder}
        if len(inner) > 1 and all(path.parent != class_folder for path in files):
            deep.append(f"{name} ({', '.join(sorted(inner)[:3])}{', ...' if len(inner) > 3 else ''})")
        label = plain_text(class_folder.name)
        start = len(class_folder.as_posix())  # `relative_to` takes as long as finding the files
        examples += [Example(plain_text(name + path.as_posix()[start:]), label, split, path) for path in files]
    if deep:
        notes.append(
            f"Class folders with folders of their own: {', '.join(deep[:3])}{', ...' if deep[3:] else ''}. All "
            f"{modality.plural} below have the class of the upper folder. If the lower ones are the classes, give a "
            "folder of these."
        )
    loose = [path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in modality.suffixes]
    if loose and not examples and (split in (None, "train") or "train" not in folders):
        raise UserError(
            f"The {modality.plural} lie directly in {folder}, so their classes are unknown. "
            f"{_expected_layout(modality)} A .csv file with the columns path and label works too."
        )
    if loose and examples:
        notes.append(f"Skipped {modality.count_noun(len(loose))} directly in {folder}, outside of the class folders.")
    return examples


def _without_copies(root: Path, class_folders: list[Path], notes: list[str]) -> list[Path]:
    """Leave out a folder that holds folders named as those beside it, as where a tree was copied into itself."""
    kept, names = [], {folder.name for folder in class_folders}
    for folder in class_folders:
        inner = {path.name for path in _visible_folders(folder)}
        if len(inner) > 1 and inner <= names - {folder.name}:
            found = ", ".join(sorted(inner)[:5])
            notes.append(f"Ignored the folder {folder.relative_to(root).as_posix()}: it repeats the class folders "
                         f"{found}. Move what is in it there if it is something else.")  # fmt: skip
        else:
            kept.append(folder)
    return kept


def _labeled(
    parts: dict[Split | None, list[Example]],
    folders: dict[Split | None, Path],
    modality: type[Modality],
    notes: list[str],
) -> dict[Split | None, list[Example]]:
    """Leave out validation and test folders without labels; what is left of one folder alone is in no split yet."""
    if "train" not in parts:
        return parts
    classes = {example.label for example in parts["train"]}
    for split in [split for split in parts if split != "train"]:
        found = {example.label for example in parts[split]}
        if len(found) > 1 or found & classes:  # other classes beside known ones are a mistake, which is told later
            continue
        del parts[split]
        notes.append(
            f"Ignored the {split} folder {folders[split].name}: it has no {modality.plural} in folders named as those "
            f"in {folders['train'].name}, so they have no labels. Sort them into such folders to use them."
        )
    # Where there is a train folder only, nothing is said about validation and test: both are made.
    return parts if len(parts) > 1 else {None: [replace(example, split=None) for example in parts["train"]]}


def _visible_folders(folder: Path, skipped: Counter[str] | None = None) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
    except OSError as error:
        _refuse(error)
    if skipped is not None:
        skipped.update(f"{name}/" for name in names if not is_visible(name))
    return sorted(folder / name for name in names if is_visible(name))


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} cannot be opened: {error.strerror}. Allow it, or move it elsewhere.") from None


def _files(folder: Path, suffixes: frozenset[str], skipped: Counter[str]) -> Iterator[Path]:
    """Yield the files with certain extensions in a folder and its subfolders; count all visible others and folders."""
    for parent, folders, files in os.walk(folder, onerror=_refuse):
        skipped.update(f"{name}/" for name in folders if not is_visible(name))
        folders[:] = filter(is_visible, folders)
        for path in (Path(parent, file) for file in files if is_visible(file)):
            if path.suffix.lower() in suffixes:
                yield path
            else:
                skipped[path.suffix.lower() or "none"] += 1
