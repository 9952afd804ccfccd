"""Read image datasets of TensorFlow Datasets, by name or by folder; needs the optional package tensorflow-datasets."""

import re
from pathlib import Path
from typing import NamedTuple

from tlkeras.data import folder
from tlkeras.data.example import SPLIT_WORDS, DatasetListing, Split
from tlkeras.errors import UserError, first_sentence

# As TensorFlow Datasets writes names: beans, emnist/letters, beans:0.1.0, coco/2017:1.*.*
NAME = r"[a-zA-Z]\w*(?:/[\w+.\-]+)?(?::(?:\d+|\*)(?:\.(?:\d+|\*)){2})?"
BOUND = r"(?:-?\d[\d_]*(?:\.\d+)?(?:%|shard)?)?"
PIECE = rf"[\w-]+(?:\[(?!:\]){BOUND}:{BOUND}\])?"
INFO = "dataset_info.json"  # lies in the folder of a prepared dataset
HOW = (
    "Write tfds:NAME, tfds:NAME/CONFIG:VERSION or tfds:FOLDER, and optionally, after another colon, one part such as "
    "train[:80%] or train+test, or what each part is for: train=train[:90%],validation=train[90%:],test=test."
)


def find(text: str, data_dir: str | None = None) -> DatasetListing:
    """List the images of a dataset, which is downloaded and prepared first if it is not yet.

    A folder without a prepared dataset, but with images as in `tfds.ImageFolder` is read as any folder is. Without
    `data_dir`, TFDS keeps its datasets in `TFDS_DATA_DIR`, or in its own default.
    """
    wanted = parse_name(text)
    if wanted.folder and not prepared_folders(wanted.folder):
        if wanted.parts:
            raise UserError(
                f"tfds:{text} is a folder without a prepared dataset, so no parts of it can be taken. Give --data "
                f"{wanted.folder} for a folder of images, or the folder in which dataset_info.json lies."
            )
        return folder.find(wanted.folder, name=f"tfds:{text}")
    try:
        import tensorflow_datasets  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"tfds:{text} needs TensorFlow Datasets, which cannot be imported ({first_sentence(error)}). "
            "Run: pip install tensorflow-datasets importlib_resources"
        ) from error
    from tlkeras.data.tfds.source import list_examples

    return list_examples(text, data_dir)


def short_name(text: str) -> str:
    """Return what to call a run on this data: the dataset without its parts."""
    wanted = parse_name(text)
    return f"tfds {' '.join(wanted.folder.parts[-2:]) if wanted.folder else wanted.name}"


def public_name(text: str) -> str:
    """Return what stands in a model card: all that was given, but no folders of this machine."""
    wanted = parse_name(text)
    head, colon, parts = text.partition(":")
    return f"tfds:{'/'.join(wanted.folder.parts[-2:]) if wanted.folder else head}{colon}{parts}"


class DatasetName(NamedTuple):
    """A dataset, by a name as TensorFlow Datasets writes it or by a folder, and the parts of it that are wanted."""

    name: str
    folder: Path | None
    parts: dict[Split | None, str]  # such as train[:80%] for each split; for None: still to be split; {}: its own


def parse_name(text: str) -> DatasetName:
    """Parse what stands behind `tfds:`. A folder begins with `/`, `.` or `~`, or holds a prepared dataset."""
    head, _, rest = text.partition(":")
    folder = Path(head).expanduser()
    if head.startswith(("/", ".", "~")) or (folder / INFO).is_file():
        return DatasetName("", folder, _parts(text, rest) if rest else {})
    match = re.fullmatch(rf"({NAME})(?::(.+))?", text)
    if not match:
        raise UserError(f"tfds:{text} is not understood. {HOW}")
    return DatasetName(match[1], None, _parts(text, match[2]) if match[2] else {})


def prepared_folders(folder: Path) -> list[Path]:
    """Return the prepared datasets that a folder is, or holds as versions or configs."""
    return sorted(path.parent for depth in ("", "*/", "*/*/") for path in folder.glob(f"{depth}{INFO}"))


def _parts(text: str, given: str) -> dict[Split | None, str]:
    """Parse the parts; one without `=` of several is for what its name says, as in `train[:80%],test`."""
    words = given.split(",")
    parts: dict[Split | None, str] = {}
    for word in words:
        role, equals, rule = (piece.strip() for piece in word.rpartition("="))
        rule = re.sub(r"\s*\+\s*", "+", rule)
        if not re.fullmatch(rf"{PIECE}(?:\+{PIECE})*", rule):
            raise UserError(f"The part {word.strip()!r} of tfds:{text} is not understood. {HOW}")
        if len(words) == 1 and not equals:
            return {None: rule}
        put = "Put train=, validation= or test= in front of"
        split = SPLIT_WORDS.get((role if equals else rule.partition("[")[0]).lower())
        if split is None:
            raise UserError(f"What the part {word.strip()!r} of tfds:{text} is for is not known. {put} it.")
        if first := parts.get(split):
            raise UserError(
                f"tfds:{text} has two parts for {split}, {first} and {rule}. {put} each, or join them with a plus: "
                f"{split}={first}+{rule}."
            )
        parts[split] = rule
    return parts
