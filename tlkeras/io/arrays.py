"""An array in a file, for what is too large for the memory."""

import threading
from typing import BinaryIO

import numpy as np


class FileArray:
    """Rows of an array in a file that is mapped into memory only while some of them are read.

    Rows are read as copies and written through the file, so resident memory does not grow with the file, and a full
    disk is an OSError.

    Attributes:
        shape: `(rows, …)`.
        dtype: of the elements.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: str | np.dtype) -> None:
        """Take an open binary file that holds the array, or a new one that is open for writing too."""
        self.shape, self.dtype = shape, np.dtype(dtype)
        self._file, self._lock = file, threading.Lock()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: int | slice | np.ndarray) -> np.ndarray:
        return np.array(np.memmap(self._file, self.dtype, "r", shape=self.shape)[rows])

    def __setitem__(self, rows: int | slice, values: np.ndarray) -> None:
        """Write one row, or the rows from a slice's start on."""
        first = rows if isinstance(rows, int) else rows.start
        row_bytes = int(np.prod(self.shape[1:])) * self.dtype.itemsize
        with self._lock:
            self._file.seek(first * row_bytes)
            self._file.write(np.ascontiguousarray(values, self.dtype).data)
            self._file.flush()

    def shortened(self, count: int) -> "FileArray":
        """The first rows only, in the same file."""
        return FileArray(self._file, (count, *self.shape[1:]), self.dtype)
