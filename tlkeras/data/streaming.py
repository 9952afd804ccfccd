"""Rows that are decoded whenever they are asked for: examples that fit neither the memory nor the disk."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tlkeras.data.example import Example, content_of
from tlkeras.errors import UserError
from tlkeras.io.arrays import FileArray
from tlkeras.io.hashing import content_digest
from tlkeras.modalities.base import SIDE, DecodeError, Modality

MAX_THUMBNAILS = 100_000  # examples up to which thumbnails are kept, and compared with each other
THREADS = ThreadPoolExecutor()  # of no one's own, so that rows can be sent to another process


class StreamedRows:
    """Decoded examples as an array has them, of which only those rows are in memory that were asked for last.

    One pass over all of them, in which each row is set once, keeps what the start of a run wants to know of each.
    """

    def __init__(self, examples: Sequence[Example], modality: Modality) -> None:
        self.shape, self.dtype = (len(examples), *modality.shape), np.dtype(modality.dtype)
        self._examples, self._modality = examples, modality
        self._digests = np.zeros(len(examples), "S16")
        kept = len(examples) if len(modality.shape) == 3 and len(examples) <= MAX_THUMBNAILS else 0
        self.thumbnails = np.empty((kept, SIDE, SIDE), np.uint8)  # of images; none where there are too many

    @property
    def digests(self) -> list[str]:
        """Return for each example what `content_digest` gives for its row."""
        return self._digests.astype(str).tolist()

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        """Decode one row, a slice, or the rows of an array of indices, on all cores."""
        if isinstance(rows, int | np.integer):
            return self._decode(int(rows))
        chosen = rows.tolist() if isinstance(rows, np.ndarray) else range(len(self))[rows]
        result = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for target, row in enumerate(THREADS.map(self._decode, chosen)):
            result[target] = row
        return result

    def __setitem__(self, index: int, row: np.ndarray) -> None:
        """Keep the digest of a decoded row, and its thumbnail, instead of the row."""
        self._digests[index] = content_digest(row)
        if len(self.thumbnails):
            self.thumbnails[index] = self._modality.thumbnail(row, SIDE)

    def only(self, chosen: Sequence[int]) -> "StreamedRows":
        """Return some of the rows, with what is known of them."""
        rows = StreamedRows([self._examples[index] for index in chosen], self._modality)
        rows._digests = self._digests[chosen]
        rows.thumbnails = self.thumbnails[chosen] if len(self.thumbnails) else self.thumbnails
        return rows

    def _decode(self, index: int) -> np.ndarray:
        example = self._examples[index]
        try:
            return self._modality.read(content_of(example))
        except DecodeError as error:
            raise UserError(
                f"{example.name} could be read when the run began, and cannot be read any more ({error}). Restore it."
            ) from error


Rows = np.ndarray | FileArray | StreamedRows  # decoded examples in memory, in a file, or decoded when asked for
