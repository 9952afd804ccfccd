"""The backbones tlkeras knows, and how they are found by name. Nothing here loads TensorFlow.

The rows are in `tlkeras/backbones/table.py`; adding a backbone is one row there and no other edit.
"""

import difflib
from typing import TypeVar

from tlkeras.backbones.spec import HUB, Backbone, Stage
from tlkeras.backbones.table import BACKBONES
from tlkeras.errors import UserError

Found = TypeVar("Found")

__all__ = ["BACKBONES", "HUB", "Backbone", "Stage", "check_image_size", "find_backbone", "find_stage"]


def get_backbone_spec(name: str) -> Backbone:
    """Find a row of the table.

    Args:
        name: Of the row; upper and lower case, `-`, `_` and `.` do not matter. `hub_module` is what the backbone of a
            model that was built from a TensorFlow Hub module is called.

    Returns:
        The row.

    Raises:
        UserError: No row has this name.
    """
    if name.startswith("hub:"):
        raise UserError(f"{name} is a hub module, which has no random weights: give a backbone of the table here.")
    if name.startswith("kerashub:"):
        raise UserError(f"{name} is an encoder for texts, and pictures are wanted: give a backbone of the table here.")
    return HUB if name == HUB.name else _find("backbone", name, BACKBONES)


def find_stage(backbone: Backbone, name: str) -> Stage:
    """The stage of `backbone` called `name`; upper and lower case, `-`, `_` and `.` do not matter.

    Raises:
        UserError: The backbone has no such stage.
    """
    return _find(f"stage of {backbone.name}", name, {stage.name: stage for stage in backbone.stages})


def check_image_size(spec: Backbone, image_size: int | None) -> int:
    """The size to build with: pixels a side, the backbone's own where None is given.

    Raises:
        UserError: The backbone cannot take it.
    """
    size = spec.default_size if image_size is None else image_size
    if size < spec.min_size:
        raise UserError(f"--image-size was {size}; {spec.name} needs at least {spec.min_size} pixels a side.")
    if spec.max_size and size > spec.max_size:
        raise UserError(f"--image-size was {size}; {spec.name} takes {spec.max_size} pixels a side, no more.")
    return size


def _find(what: str, name: str, known: dict[str, Found]) -> Found:
    for spelling in (str, str.lower, _plain):  # the strictest first: MobileNetV2 has a stage Conv1 and a stage Conv_1
        same = [key for key in known if spelling(key) == spelling(name)]
        if len(same) == 1:
            return known[same[0]]
    plain = {_plain(key): key for key in known}
    close = [plain[match] for match in difflib.get_close_matches(_plain(name), plain, n=3)]
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    raise UserError(f'There is no {what} called "{name}".{hint} Known are: {", ".join(known)}.')


def _plain(name: str) -> str:
    return name.lower().translate(str.maketrans("", "", "-_."))
