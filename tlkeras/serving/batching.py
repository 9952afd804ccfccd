"""Dynamic batching: one thread takes through the model whatever examples wait, so that many requests share a call."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, Self

import numpy as np

from tlkeras.run.predictor import Predictor

log = logging.getLogger("tlkeras.serving")


class Decision(NamedTuple):
    """What the model says of one example."""

    output: np.ndarray  # float32 (K,)
    unsure: bool | None  # None where nothing is known


class Waiting(NamedTuple):
    """A decoded example, and where its decision goes."""

    example: np.ndarray
    future: Future[Decision]


class Batcher:
    """A queue in front of a predictor, in use from `with` on.

    A batch begins with the first example that waits and takes those that wait too, or come within `wait` seconds.

    Args:
        predictor: what predicts; it is called by one thread only.
        size: examples in a batch at most.
        wait: seconds.
        on_batch: called after each batch with its outputs, features and what is unsure, as the predictor gives them.
    """

    def __init__(
        self,
        predictor: Predictor,
        size: int,
        wait: float,
        on_batch: Callable[[np.ndarray, np.ndarray | None, list[bool | None]], None],
    ) -> None:
        self._predictor, self._size, self._wait, self._on_batch = predictor, size, wait, on_batch
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()  # None: the end
        self._thread = threading.Thread(target=self._work, name="batcher")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._queue.put(None)
        self._thread.join()

    def submit(self, example: np.ndarray) -> Future[Decision]:
        """Return the future decision on a decoded example; one that is cancelled in time costs nothing."""
        waiting = Waiting(example, Future())
        self._queue.put(waiting)
        return waiting.future

    def _work(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, deadline = [first], time.monotonic() + self._wait
            while len(batch) < self._size:
                try:
                    item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    break
                if item is None:
                    self._queue.put(None)
                    break
                batch.append(item)
            self._decide([waiting for waiting in batch if waiting.future.set_running_or_notify_cancel()])

    def _decide(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        try:
            outputs, features = self._predictor.outputs(np.stack([waiting.example for waiting in batch]))
            unsure = self._predictor.unsure(outputs, features)
        except Exception as error:  # those who wait get it; the thread lives on
            for waiting in batch:
                waiting.future.set_exception(error)
            return
        try:
            self._on_batch(outputs, features, unsure)
        except Exception:  # what is noted of a batch must not cost its answers
            log.exception("A batch was not noted.")
        for waiting, output, doubt in zip(batch, outputs, unsure, strict=True):
            waiting.future.set_result(Decision(output, doubt))
