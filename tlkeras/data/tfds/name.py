"""Parse what is written behind `tfds:`: which dataset, and which parts of it are for what."""

import re
from pathlib import Path
from typing import NamedTuple

from tlkeras.data.example import SPLIT_WORDS, Split
from tlkeras.errors import UserError

# As TensorFlow Datasets writes names: beans, emnist/letters, beans:0.1.0, coco/2017:1.*.*
NAME = r"[a-zA-Z]\w*(?:/[\w+.\-]+)?(?::(?:\d+|\*)(?:\.(?:\d+|\*)){2})?"
BOUND = r"(?:-?\d[\d_]*(?:\.\d+)?(?:%|shard)?)?"
PIECE = rf"[\w-]+(?:\[(?!:\]){BOUND}:{BOUND}\])?"
INFO = "dataset_info.json"  # lies in the folder of a prepared dataset
HOW = (
    "Write tfds:NAME, tfds:NAME/CONFIG:VERSION or tfds:FOLDER, and optionally, after another colon, one part such as "
    "train[:80%] or train+test, or what each part is for: train=train[:90%],validation=train[90%:],test=test."
)


class DatasetName(NamedTuple):
    """A dataset, by a name as TensorFlow Datasets writes it or by a folder, and the parts of it that are wanted.

    The parts, such as `train[:80%]` or `train+test`, are those for each split of the run; None is what is still to be
    split. Without any, the dataset's own splits are meant.
    """

    name: str
    folder: Path | None
    parts: dict[Split | None, str]


def parse_name(text: str) -> DatasetName:
    """Parse what stands behind `tfds:`.

    A folder begins with `/`, `.` or `~`, or holds a prepared dataset. A part without `=` that is one of several is for
    what its name says: `train[:80%],test` is `train=train[:80%],test=test`.

    Raises:
        UserError: it is neither a name nor a folder, or its parts cannot be understood.
    """
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
