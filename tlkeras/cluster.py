"""Work on several machines, or on several parts of this one, by Ray: shards in, their results out in the same order."""

import contextlib
import functools
import logging
import os
import signal
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkeras.config.cluster import LOCAL, check_cluster
from tlkeras.data.loading import available_cores
from tlkeras.errors import UserError, first_sentence

log = logging.getLogger("tlkeras")
RETRIES = 3  # of a shard whose worker is lost, before it is the shard that is to blame
AHEAD = 3  # shards for each worker that are computed or wait, so that none is idle while one is computed again
STORE = 2**29  # bytes of shared memory for each part of this machine; what is more goes to its disk
TIMEOUT = 5.0  # seconds in which a machine answers


@dataclass(frozen=True)
class Workers:
    """Processes that compute, alike, each of which has the cores, or a GPU, for itself."""

    count: int
    cores: int
    gpus: int = 0

    @classmethod
    def of(cls, machines: list[dict[str, float]]) -> "Workers":
        """Return one for each machine, or for each GPU where all machines have some, by what Ray says of them."""
        found = [(int(one["CPU"]), int(one.get("GPU", 0))) for one in machines if one.get("CPU", 0) >= 1]
        if not found:
            raise UserError("The cluster of --cluster has no cores. Start it with ray start --num-cpus=N.")
        gpus = min(1, *(gpu for _, gpu in found))
        cores = min(max(1, cpu // gpu if gpus else cpu) for cpu, gpu in found)
        return cls(sum(min(gpu, cpu // cores) if gpus else cpu // cores for cpu, gpu in found), cores, gpus)


@contextlib.contextmanager
def connected(address: str) -> Iterator[Workers]:
    """Connect to a cluster, or start one of parts of this machine, for the time of the block; inside another: use that.

    Raises:
        UserError: there is no cluster at this address, or this machine has fewer cores than parts.
    """
    check_cluster(address)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_task_oom_retries", str(RETRIES))  # else without end, and nobody is told
    import ray

    logging.getLogger("ray").setLevel(logging.ERROR)
    if ray.is_initialized():
        yield Workers.of(_machines())
        return
    with contextlib.ExitStack() as stack:
        with _own_signal_handler():
            if local := LOCAL.fullmatch(address):
                address = stack.enter_context(parts_of_this_machine(int(local[1])))
            stack.callback(ray.shutdown)
            _connect(address)
        yield Workers.of(_machines())


class Tasks:
    """Calls of one function on the workers, each of which has loaded, once, what the function works on."""

    def __init__(self, load: Callable[[], Any], compute: Callable[..., Any], workers: Workers) -> None:
        import ray

        self._loader = [ray.put(load)]  # in a list, so that it is not sent with each call
        self._compute = compute
        self._call = ray.remote(num_cpus=workers.cores, num_gpus=workers.gpus, max_retries=RETRIES)(_call)

    def start(self, *given: Any) -> Any:
        """Start `compute(loaded, *given)`, and return a reference to what comes out."""
        return self._call.remote(self._loader, self._compute, Path.cwd(), *given)

    def together(self, shards: Iterable[Any], common: Any) -> list[Any]:
        """Return `compute(loaded, shard, common)` of each shard in order; `common` is sent to a machine once.

        Raises:
            UserError: as for `in_order`.
        """
        import ray

        with _errors_as_sentences():
            sent = ray.put(common)
            return ray.get([self.start(shard, sent) for shard in shards])


def in_order(
    load: Callable[[], Any], compute: Callable[[Any, Any], Any], shards: Iterable[Any], workers: Workers
) -> Iterator[Any]:
    """Yield `compute(loaded, shard)` of each shard in order, where `loaded` is what a worker has loaded, once.

    A few shards are under way at a time. One whose worker is lost is computed again, by that machine or another.

    Raises:
        UserError: what a worker raised, or that a shard was computed again and again and no worker survived it.
    """
    import ray

    tasks, pending = Tasks(load, compute, workers), deque[Any]()
    with _errors_as_sentences():
        for shard in shards:
            pending.append(tasks.start(shard))
            if len(pending) == AHEAD * workers.count:
                yield ray.get(pending.popleft())
        while pending:
            yield ray.get(pending.popleft())


@contextlib.contextmanager
def _errors_as_sentences() -> Iterator[None]:
    """Raise what a worker raised, or a sentence about it."""
    import ray

    try:
        yield
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ray.exceptions.RaySystemError):  # what was sent there cannot be loaded
            reason = first_sentence(error.cause)
            raise UserError(f"{reason}. All machines need tlkeras and the same packages.") from None
        raise error.cause if isinstance(error.cause, UserError) else error from None
    except ray.exceptions.RayError as error:
        raise UserError(
            f"A part of the work was lost {RETRIES + 1} times, as its worker ended each time "
            f"({type(error).__name__}: {first_sentence(error)}). Look for a lack of memory there."
        ) from None


def _call(loader: list, compute: Callable[..., Any], folder: Path, *given: Any) -> Any:
    """Do one call, in a worker; relative paths mean what they mean to whoever started the command."""
    try:
        os.chdir(folder)
    except OSError as error:
        raise UserError(f"{folder}, where the command runs, is not on machine {socket.gethostname()}: "
                        f"{error.strerror}. All machines of --cluster need the same files.") from None  # fmt: skip
    return compute(_loaded(*loader), *given)


@functools.lru_cache(maxsize=1)
def _loaded(loader: Any) -> Any:
    import ray

    return ray.get(loader)()


def _machines() -> list[dict[str, float]]:
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _connect(address: str) -> None:
    """Become a client of a cluster; Ray waits for minutes where nothing answers, so that is asked first."""
    import ray

    try:
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), TIMEOUT).close()
        ray._private.worker.print_to_stdstream = _say
        variables = {"KERAS_BACKEND": "tensorflow"}  # as modules may import Keras before the worker loads TensorFlow
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": variables})
    except (OSError, OverflowError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--cluster was {address}, and there is no Ray cluster that can be used from here: "
            f"{first_sentence(error)}. Start it with ray start --head there, and ray start --address={address} here."
        ) from None


def _say(data: dict[str, Any], ignore_prefix: bool) -> None:
    """Log in a line what Ray would print in many, on standard output too, such as that a worker was lost."""
    for line in data["lines"]:
        if not line.startswith("Task "):  # will be retried
            log.info("Note: Ray says: %s.", first_sentence(line))


@contextlib.contextmanager
def parts_of_this_machine(count: int) -> Iterator[str]:
    """Start a cluster whose machines are parts of this one, with cores of their own, and return its address."""
    from ray.cluster_utils import Cluster

    cores = available_cores() // count
    if not cores:
        raise UserError(
            f"--cluster was local:{count}, and this machine has {available_cores()} cores. Give fewer parts."
        )
    cluster = Cluster()
    try:
        for number in range(count):
            with _only_cores(number * cores, cores):
                cluster.add_node(num_cpus=cores, object_store_memory=STORE, include_dashboard=False)
        yield cluster.address
    finally:
        cluster.shutdown()


@contextlib.contextmanager
def _only_cores(first: int, count: int) -> Iterator[None]:
    """Give some of the cores to whatever this thread starts, where the system can do that."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[first : first + count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


@contextlib.contextmanager
def _own_signal_handler() -> Iterator[None]:
    """Keep what SIGTERM does to this program, as Ray puts its own handler there."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
