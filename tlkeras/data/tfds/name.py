"""What is written behind `tfds:`: which data set, and which parts of it are for what. Loads nothing."""

import re
from dataclasses import dataclass
from pathlib import Path

from tlkeras.data.example import SPLIT_WORDS, Split
from tlkeras.errors import UserError

# As TensorFlow Datasets writes names: beans, emnist/letters, beans:0.1.0, coco/2017:1.*.*
VERSION = r"(?:\d+|\*)(?:\.(?:\d+|\*)){2}"
NAME = rf"[a-zA-Z]\w*(?:/[\w+.\-]+)?(?::{VERSION})?"
BOUND = r"(?:-?\d[\d_]*(?:\.\d+)?(?:%|shard)?)?"
PIECE = rf"[\w-]+(?:\[(?!:\]){BOUND}:{BOUND}\])?"
HOW = (
    "Write tfds:NAME, tfds:NAME/CONFIG:VERSION or tfds:FOLDER, and behind another colon, if you like, one part such as "
    "train[:80%] or train+test, or what each part is for: train=train[:90%],validation=train[90%:],test=test."
)


@dataclass(frozen=True)
class Part:
    """Some pictures of a data set.

    Attributes:
        rule: which ones, as TensorFlow Datasets writes it: `train[:80%]`, `train+test`.
        split: what they are for; None where they are still to be split.
    """

    rule: str
    split: Split | None


@dataclass(frozen=True)
class TfdsName:
    """A data set and the parts of it that are wanted.

    Attributes:
        name: name, config and version as TensorFlow Datasets writes them; empty where a folder was given.
        folder: a prepared data set, or pictures in folders.
        parts: no two for the same split; none at all means the splits that the data set has.
    """

    name: str
    folder: Path | None
    parts: list[Part]


def parse_name(text: str) -> TfdsName:
    """Reads what stands behind `tfds:`.

    A folder begins with `/`, `.` or `~`, or is one that holds a prepared data set. A part without `=` that is one of
    several is for what its name says: `train[:80%],test` is `train=train[:80%],test=test`.

    Raises:
        UserError: It is neither a name nor a folder, or its parts cannot be understood.
    """
    place, _, rest = text.partition(":")
    folder = Path(place).expanduser()
    if place.startswith(("/", ".", "~")) or (folder / "dataset_info.json").is_file():
        return TfdsName("", folder, _parts(text, rest) if rest else [])
    match = re.fullmatch(rf"({NAME})(?::(.+))?", text)
    if not match:
        raise UserError(f"tfds:{text} is not understood. {HOW}")
    return TfdsName(match[1], None, _parts(text, match[2]) if match[2] else [])


def short_name(data: str) -> str:
    """What to call a run on this data: a file's or folder's name; of a TFDS data set its name, but not its parts."""
    if not data.startswith("tfds:"):
        return Path(data).stem
    wanted = parse_name(data.removeprefix("tfds:"))
    return f"tfds {wanted.name or ' '.join(wanted.folder.parts[-2:])}"


def _parts(text: str, given: str) -> list[Part]:
    """Reads the parts; a single one without a word for it is left to be split."""
    words = given.split(",")
    parts: list[Part] = []
    for word in words:
        role, equals, rule = (piece.strip() for piece in word.rpartition("="))
        rule = re.sub(r"\s*\+\s*", "+", rule)
        if not re.fullmatch(rf"{PIECE}(?:\+{PIECE})*", rule):
            raise UserError(f"The part {word.strip()!r} of tfds:{text} is not understood. {HOW}")
        if len(words) == 1 and not equals:
            return [Part(rule, None)]
        split = SPLIT_WORDS.get((role if equals else rule.partition("[")[0]).lower())
        if split is None:
            raise UserError(
                f"What the part {word.strip()!r} of tfds:{text} is for is not known. Put train=, validation= or test= "
                "in front of it."
            )
        if earlier := next((part for part in parts if part.split == split), None):
            raise UserError(
                f"tfds:{text} has two parts for {split}, {earlier.rule} and {rule}. Put train=, validation= or test= "
                f"in front of each, or join them with a plus: {split}={earlier.rule}+{rule}."
            )
        parts.append(Part(rule, split))
    return parts
