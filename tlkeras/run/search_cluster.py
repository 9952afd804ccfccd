"""A search on the workers of a cluster: each is a process of its own that joins the study on the shared disk."""

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from tlkeras.cluster import connected, in_order
from tlkeras.config.choose import ChooseConfig

if TYPE_CHECKING:
    import optuna

POLL = 1.0  # seconds between two looks at the study


def search_on_workers(
    config: ChooseConfig, study: "optuna.Study", deadline: float, report: Callable[[Any, Any], None], grace: float
) -> None:
    """Try options on all workers until there are enough trials; a lost worker costs its trial, which has then failed.

    `report` is called with the study and each trial that has come to its end.
    """
    with connected(str(config.cluster)) as workers, _following(study, report):
        alone = dataclasses.replace(config, cluster=None)
        end = time.time() + deadline - time.monotonic()  # by the clock, which other machines have too
        for _ in in_order(lambda: (alone, end), _search, range(1, workers.count + 1), workers):
            pass
    from optuna.storages import fail_stale_trials
    from optuna.trial import TrialState

    end = time.monotonic() + grace
    while study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)) and time.monotonic() < end:
        fail_stale_trials(study)
        time.sleep(POLL)


def _search(given: tuple[ChooseConfig, float], number: int) -> None:
    from tlkeras.run.search import search

    config, end = given
    left = None if math.isinf(end) else max((end - time.time()) / 60, 0.01)
    search(dataclasses.replace(config, budget=left), number)


@contextlib.contextmanager
def _following(study: "optuna.Study", report: Callable[[Any, Any], None]) -> Iterator[None]:
    """Report the trials that come to their end during the block."""
    from optuna.trial import TrialState

    ended, stopped = (TrialState.COMPLETE, TrialState.PRUNED), threading.Event()
    seen = {one.number for one in study.get_trials(deepcopy=False, states=ended)}

    def follow() -> None:
        last = False
        while not last:
            last = stopped.wait(POLL)
            for trial in study.get_trials(deepcopy=False, states=ended):
                if trial.number not in seen:
                    seen.add(trial.number)
                    report(study, trial)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
