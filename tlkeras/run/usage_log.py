"""What a model is used for, day by day, in one small file: counts and projected features, no images and no names."""

import threading
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Self

import numpy as np

from tlkeras.errors import UserError
from tlkeras.evaluation.reference import FILE, Counts, Reference, count, load_reference
from tlkeras.io.arrays import read_npz
from tlkeras.io.atomic import open_atomic
from tlkeras.io.hashing import file_hash
from tlkeras.io.locks import locked
from tlkeras.run.load_run import Run

MAX_DAYS = 366  # the newest ones stay
ROWS_PER_DAY = 200  # of projected features, a random sample
WAIT = 30.0  # seconds for another program that writes the log


@dataclass(frozen=True)
class Usage:
    """Counts of each day, and a sample of the projected features of its examples.

    A key is drawn at random for each row, and the rows of a day with the lowest keys stay: so two samples of one day
    are joined into one that is as random.
    """

    days: np.ndarray  # datetime64[D] (D,), in their order
    images: np.ndarray  # int64 (D,)
    unsure: np.ndarray  # int64 (D,)
    classes: np.ndarray  # int64 (D, K)
    levels: np.ndarray  # int64 (D, B)
    rows: np.ndarray  # float16 (N, R)
    row_days: np.ndarray  # datetime64[D] (N,)
    keys: np.ndarray  # float64 (N,), from 0 to 1

    @classmethod
    def of_day(cls, day: date, counts: Counts, rows: np.ndarray, keys: np.ndarray) -> Self:
        """Return what is kept of the examples of one day, of which all rows are given."""
        today = np.array([day], "datetime64[D]")
        of_day = {name: part[None] for name, part in counts._asdict().items()}
        return cls(days=today, **of_day, rows=rows, row_days=today.repeat(len(rows)), keys=keys).joined()

    def joined(self, *others: "Usage") -> Self:
        """Return this and others as one, of the newest days, with no more rows of a day than are kept."""
        parts = {entry.name: np.concatenate([getattr(one, entry.name) for one in (self, *others)])
                 for entry in fields(self)}  # fmt: skip
        all_days, which = np.unique(parts["days"], return_inverse=True)
        days = all_days[-MAX_DAYS:]
        for name in Counts._fields:
            sums = np.zeros((len(all_days), *parts[name].shape[1:]), "int64")
            np.add.at(sums, which, parts[name])
            parts[name] = sums[-MAX_DAYS:]
        order = np.lexsort((parts["keys"], parts["row_days"]))
        row_days = parts["row_days"][order]
        rank = np.arange(len(order)) - np.searchsorted(row_days, row_days)
        kept = order[(rank < ROWS_PER_DAY) & np.isin(row_days, days)]
        return type(self)(**parts | {"days": days} | {name: parts[name][kept] for name in ("rows", "row_days", "keys")})

    def since(self, day: date) -> Self:
        """Return what is of this day and later ones."""
        start = np.datetime64(day, "D")
        of_days, of_rows = self.days >= start, self.row_days >= start
        chosen = {name: getattr(self, name)[of_days] for name in ("days", *Counts._fields)}
        return type(self)(**chosen | {name: getattr(self, name)[of_rows] for name in ("rows", "row_days", "keys")})

    def fits(self, reference: Reference) -> bool:
        """Return whether all arrays have the shapes that the reference of a run asks for, and numbers in them."""
        days, rows = len(self.days), len(self.rows)
        expected = {name: (days, *getattr(reference, name).shape) for name in Counts._fields}
        expected |= {"rows": (rows, *reference.rows.shape[1:]), "row_days": (rows,), "keys": (rows,)}
        shapes = {name: getattr(self, name).shape for name in expected}
        return days > 0 and shapes == expected and bool(np.isfinite(self.rows).all())

    def total(self) -> Counts:
        """Return the counts of all days together."""
        return Counts(*(getattr(self, name).sum(axis=0) for name in Counts._fields))

    def sample(self, limit: int) -> np.ndarray:
        """Return rows `(N, R)` of all days together, at most so many, in which each example is as likely as any other.

        Of a busy day only the lowest keys were kept, so of the other days no higher ones may count.
        """
        highest = 1.0
        for day, images in zip(self.days, self.images, strict=True):
            of_day = self.keys[self.row_days == day]
            if images > len(of_day):
                highest = min(highest, of_day.max(initial=0.0))
        lowest = np.argsort(self.keys, kind="stable")[:limit]
        return self.rows[lowest[self.keys[lowest] <= highest]]


class UsageLog:
    """The log of a run's predictions: `add` those of each batch, `save` now and then; any thread may do either.

    Several programs may write to one file: each adds to what is there.
    """

    def __init__(self, path: Path, run: Run) -> None:
        """Refuse a run that has no reference, and a file that is not the log of this run."""
        self.path, self.task, self.reference = path, run.task, load_reference(run.path)
        self.run_hash = file_hash(run.path / FILE)
        self._pending: Usage | None = None
        self._lock, self._rng = threading.Lock(), np.random.default_rng()
        if not path.parent.is_dir():
            raise UserError(f"There is no folder {path.parent} for the log {path.name}. Make it, or give another path.")
        if path.exists():
            read_usage(path, self.run_hash, self.reference)

    def add(self, outputs: np.ndarray, features: np.ndarray | None, unsure: list[bool | None]) -> None:
        """Add outputs `(N, K)`, features `(N, C)` and what is unsure, as a `Predictor` gives them."""
        if features is None or not len(outputs):
            return
        counts = count(outputs, np.array(unsure, bool), self.task, self.reference.edges)
        with self._lock:
            keys = self._rng.random(len(outputs))
            rows = self.reference.project(features)
            known = np.isfinite(rows).all(axis=1)  # a model may give no number for an odd example
            new = Usage.of_day(datetime.now(UTC).date(), counts, rows[known], keys[known])
            self._pending = new.joined(*[self._pending] if self._pending else [])

    def save(self) -> None:
        """Write what was added since the last time; what cannot be written is kept for the next time."""
        with self._lock:
            pending, self._pending = self._pending, None
        if pending is None:
            return
        try:
            self._write(pending)
        except BaseException:
            with self._lock:
                self._pending = pending.joined(*[self._pending] if self._pending else [])
            raise

    def _write(self, pending: Usage) -> None:
        lock = self.path.with_name(f".{self.path.name}.lock")
        with locked(lock, f"The log {self.path}", "another path", WAIT):
            kept = [read_usage(self.path, self.run_hash, self.reference)] if self.path.exists() else []
            arrays: dict[str, Any] = vars(pending.joined(*kept)) | {"run": np.array(self.run_hash)}
            with open_atomic(self.path) as file:
                np.savez_compressed(file, **arrays)


def read_usage(path: Path, run_hash: str, reference: Reference) -> Usage:
    """Read the log of the run of a reference and its hash; refuse a file that is none, or that of another run."""
    try:
        arrays = read_npz(path)
        run, usage = str(arrays.pop("run")), Usage(**arrays)
    except FileNotFoundError:
        raise UserError(f"There is no log {path}. predict.py and serve.py write one with --log {path}.") from None
    except (ValueError, TypeError, KeyError):
        raise UserError(f"{path} is not a log, or a damaged one. Give another path.") from None
    if run != run_hash:
        raise UserError(f"{path} is the log of another run. Give each run a log of its own.")
    if not usage.fits(reference):
        raise UserError(f"{path} is damaged. Give another path.")
    return usage
