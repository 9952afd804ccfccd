"""Checkpoints: written atomically, and a damaged one is told by the checksum in its name."""

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.io.atomic import write_atomic
from tlkeras.io.hashing import stream_hash

log = logging.getLogger("tlkeras")

KEPT = 2  # so that a damaged one costs one step, not the run


@dataclass(frozen=True)
class Checkpoint:
    """What was saved.

    Attributes:
        number: of the checkpoint; later ones have greater numbers.
        arrays: lists of arrays by name, as they were given.
        state: everything else, as JSON can hold it.
    """

    number: int
    arrays: dict[str, list[np.ndarray]]
    state: dict[str, Any]


class Checkpoints:
    """The last two checkpoints, in a folder that is made when the first one is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, arrays: Mapping[str, Sequence[np.ndarray]], state: dict[str, Any]) -> None:
        """Write a checkpoint, and remove all but the last two.

        Raises:
            OSError: the disk is full; the earlier checkpoints are untouched.
        """
        counts = {name: len(group) for name, group in arrays.items()}
        content = io.BytesIO()
        np.savez(
            content,
            allow_pickle=False,
            about=np.array(json.dumps({"counts": counts, "state": state})),
            **{f"{name}.{index}": array for name, group in arrays.items() for index, array in enumerate(group)},
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._folder / f"{number:06}-{checksum(content.getbuffer())}.npz", content.getbuffer())
        for old in [*self._files()[KEPT:], *self._folder.glob(".*.partial")]:  # of a killed process
            old.unlink()

    def latest(self) -> Checkpoint | None:
        """Return the newest checkpoint that is not damaged; None where there is none. Damaged ones are removed."""
        for path in self._files():
            number, _, expected = path.stem.partition("-")
            written = path.read_bytes()
            if checksum(written) != expected:
                log.warning("Note: removed %s, which is damaged.", path)
                path.unlink()
                continue
            with np.load(io.BytesIO(written), allow_pickle=False) as content:
                about = json.loads(content["about"].item())
                arrays = {
                    name: [content[f"{name}.{index}"] for index in range(count)]
                    for name, count in about["counts"].items()
                }
                return Checkpoint(int(number), arrays, about["state"])
        return None

    def _files(self) -> list[Path]:
        """Return the files, newest first."""
        return sorted(self._folder.glob("*-*.npz"), reverse=True)


def checksum(content: bytes | memoryview) -> str:
    """Return the first half of the SHA-256."""
    return stream_hash([content])[:32]
