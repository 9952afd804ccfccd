"""The outputs of a finished run for its own examples: what comparisons and reports look at, without the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.data.prepare import PreparedData
from tlkeras.errors import UserError
from tlkeras.io.arrays import read_npz

FILE = "predictions.npz"


@dataclass(frozen=True)
class Predictions:
    """Outputs of a model for examples, in the order of the splits and of the rows in each."""

    names: np.ndarray  # str (N,): path, or name, of each example
    digests: np.ndarray  # str (N,): of its decoded content
    splits: np.ndarray  # str (N,): "train", "validation" or "test"
    targets: np.ndarray  # float32 (N, K): one-hot, multi-hot, or numbers
    outputs: np.ndarray  # float32 (N, K): probabilities, or numbers, as the saved model gives them

    def __len__(self) -> int:
        return len(self.outputs)

    def of(self, split: str) -> "Predictions":
        """Return those of one split."""
        chosen = self.splits == split
        return Predictions(**{name: values[chosen] for name, values in vars(self).items()})


def save_predictions(
    folder: Path, data: PreparedData, targets: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]
) -> None:
    """Write the outputs `(N, K)` of each split, with its targets, into a run's folder."""
    rows = np.concatenate([data.splits[split] for split in outputs])
    arrays: dict[str, Any] = {
        "names": np.array([data.examples[row].name for row in rows]),
        "digests": np.array([data.digests[row] for row in rows]),
        "splits": np.repeat(list(outputs), [len(values) for values in outputs.values()]),
        "targets": np.concatenate([targets[split] for split in outputs]),
        "outputs": np.concatenate(list(outputs.values())),
    }
    np.savez_compressed(folder / FILE, **arrays)


def load_predictions(folder: Path) -> Predictions:
    """Read what `save_predictions` wrote; refuse a run without it, such as one of an earlier version."""
    try:
        return Predictions(**read_npz(folder / FILE))
    except FileNotFoundError:
        raise UserError(f"There is no {folder / FILE}. An earlier version wrote this run; train it again.") from None
    except (ValueError, TypeError):
        raise UserError(f"{folder / FILE} is damaged. Restore it, or train again.") from None
