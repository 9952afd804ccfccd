"""What a stopped training needs to resume bit for bit, in checkpoints that are written atomically, with a checksum."""

import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tlkeras.io.atomic import write_atomic
from tlkeras.io.hashing import stream_hash

if TYPE_CHECKING:
    import keras

log = logging.getLogger("tlkeras")

KEPT = 2  # so that a damaged one costs one step, not the run


@dataclass(frozen=True)
class Checkpoint:
    """What was saved: later ones have greater numbers; lists of arrays by name; all else, as JSON can hold it."""

    number: int
    arrays: dict[str, list[np.ndarray]]
    state: dict[str, Any]


class Checkpoints:
    """The last two checkpoints, in a folder that is made when the first one is written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, number: int, arrays: Mapping[str, Sequence[np.ndarray]], state: dict[str, Any]) -> None:
        """Write a checkpoint and remove all but the last two, which stay untouched where the disk is full."""
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


def training_state(part: "keras.Model") -> list["keras.Variable"]:
    """Return all that a training step of a compiled model changes, frozen weights aside; builds the optimizer.

    These are weights, what trainable layers keep beside them (moving statistics, states of random layers), and what the
    optimizer keeps.
    """
    part.optimizer.build(part.trainable_variables)
    return [*part.trainable_variables, *layer_states(part), *part.optimizer.variables]


def layer_states(part: "keras.Model") -> list["keras.Variable"]:
    """Return what trainable layers keep beside their weights: moving statistics, states of random layers."""
    from tlkeras.models.keras_private import flatten_layers

    frozen = {id(weight) for layer in flatten_layers(part) if not layer.trainable for weight in layer.weights}
    return [variable for variable in part.non_trainable_variables if id(variable) not in frozen]


def to_numpy(variables: Sequence["keras.Variable"]) -> list[np.ndarray]:
    """Return copies of what variables hold."""
    return [np.asarray(variable).copy() for variable in variables]


def assign_all(variables: Sequence["keras.Variable"], arrays: Sequence[np.ndarray]) -> None:
    """Assign an array to each variable, the opposite of `to_numpy`."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
