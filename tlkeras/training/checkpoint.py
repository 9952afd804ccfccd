"""Checkpoints that are whole or not there: written beside, flushed, renamed; their name holds their checksum."""

import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.io.atomic import write_atomic

log = logging.getLogger("tlkeras")

KEPT = 2  # a torn one costs one step back, not the run


@dataclass(frozen=True)
class Checkpoint:
    """What was written.

    Attributes:
        number: of the checkpoint; the next one has a greater number.
        arrays: lists of arrays by name, as they were given.
        state: the rest, anything that JSON holds.
    """

    number: int
    arrays: dict[str, list[np.ndarray]]
    state: dict[str, Any]


class Checkpoints:
    """The last two checkpoints in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, arrays: Mapping[str, Sequence[np.ndarray]], state: dict[str, Any]) -> None:
        """Add a checkpoint, and remove all but the last two.

        Raises:
            OSError: the disk is full; the checkpoints before are untouched.
        """
        counts = {name: len(group) for name, group in arrays.items()}
        content = io.BytesIO()
        np.savez(
            content,
            allow_pickle=False,
            about=np.array(json.dumps({"counts": counts, "state": state})),
            **{f"{name}.{place}": array for name, group in arrays.items() for place, array in enumerate(group)},
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._folder / f"{number:06}-{checksum(content.getbuffer())}.npz", content.getbuffer())
        for old in self._files()[KEPT:]:
            old.unlink()

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None where there is none."""
        for path in self._files():
            number, _, expected = path.stem.partition("-")
            written = path.read_bytes()
            if checksum(written) != expected:
                log.warning("Note: %s is damaged and is removed.", path)
                path.unlink()
                continue
            with np.load(io.BytesIO(written), allow_pickle=False) as content:
                about = json.loads(content["about"].item())
                arrays = {name: [content[f"{name}.{place}"] for place in range(count)]
                          for name, count in about["counts"].items()}  # fmt: skip
                return Checkpoint(int(number), arrays, about["state"])
        return None

    def _files(self) -> list[Path]:
        """Newest first."""
        return sorted(self._folder.glob("*-*.npz"), reverse=True)


def checksum(content: bytes | memoryview) -> str:
    """The first half of the SHA-256."""
    return hashlib.sha256(content).hexdigest()[:32]
