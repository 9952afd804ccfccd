"""What an artifact says of itself in artifact.json; without TensorFlow."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.config.fields import Task
from tlkeras.errors import UserError, first_sentence
from tlkeras.export.formats import FORMATS, check_installed, load_module
from tlkeras.io.atomic import write_atomic

FILE = "artifact.json"
MAX_BYTES = 10_000_000
SOURCE = re.compile(r"^(Exception from|Check) .*\n", re.MULTILINE)  # where OpenVINO's code found an error
# From decoded examples `(N, …)`, images of any size, to outputs `(N, K)` and features `(N, C)`, where there are any.
Session = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class ArtifactInfo:
    """What is in an artifact, and what its model takes and gives."""

    format: str  # a name of `FORMATS`
    variant: str
    task: Task
    tlkeras: str  # version that wrote it
    backbone: str
    weights: dict[str, str]  # that training started from: name, and source and license where they are known
    input: dict[str, Any]  # name, dtype, shape, and for images what the pixels are and whether they are resized inside
    outputs: dict[str, int]  # name and width of each: "probabilities" or "values" first, then perhaps "features"
    labels: list[str] = field(default_factory=list)  # of the probabilities, in their order

    @property
    def num_features(self) -> int:
        """Return the width of the features; 0 where there are none."""
        return self.outputs.get("features", 0)

    @property
    def gray_range(self) -> tuple[int, int] | None:
        """Return black and white of gray images with more than 8 bits, where they are known."""
        found = self.input.get("gray_range")
        return (found[0], found[1]) if found else None

    def as_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        write_atomic(folder / FILE, self.as_json())


def is_artifact(folder: Path) -> bool:
    """Return whether a folder says that it is an artifact."""
    return (folder / FILE).is_file()


def load_artifact(folder: Path) -> ArtifactInfo:
    """Read what an artifact, which may be untrusted, says of itself; refuse a damaged one."""
    try:
        if (folder / FILE).stat().st_size > MAX_BYTES:
            raise ValueError
        info = ArtifactInfo(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        outputs = list(info.outputs.items())
        known = info.format in FORMATS and info.variant in FORMATS[info.format].variants
        named = bool(outputs) and all(isinstance(name, str) and isinstance(width, int) for name, width in outputs)
        if not (known and named and isinstance(info.input, dict)):
            raise ValueError
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{folder / FILE} is damaged. Give a folder that scripts/export.py wrote.") from None
    if not (folder / FORMATS[info.format].model).is_file():
        raise UserError(
            f"{folder} has no {FORMATS[info.format].model}. Give a complete folder that scripts/export.py wrote."
        )
    return info


def open_session(folder: Path) -> Session:
    """Return what runs the model of an artifact; refuse one whose runtime is not installed, or that it cannot open."""
    info = load_artifact(folder)
    check_installed(info.format, FORMATS[info.format].runtime)
    try:
        return load_module(info.format).open_session(folder)
    except Exception as error:  # runtimes raise nearly anything
        reason = first_sentence(RuntimeError(SOURCE.sub("", str(error)) or type(error).__name__)).rstrip("!")
        raise UserError(
            f"{folder / FORMATS[info.format].model} cannot be opened as {FORMATS[info.format].title}: {reason}."
        ) from None
