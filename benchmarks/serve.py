"""What the service answers in a second, how long a request takes, what memory it needs, and what harms it.

    python benchmarks/serve.py RUN IMAGES

RUN is a run or an artifact, IMAGES a folder of JPEG files. In turns the model is called in a process of its own, on
decoded images, and on files, with decoding in threads as the service does it; and the service, with its defaults, is
asked by 1, 8 and 32 clients, each of which sends one file after the other. Medians and ranges are printed. With
`--minutes` 8 clients send files for so long, and the memory of the service is printed each minute; with `--hostile` it
gets that many requests that are damaged, too large, too slow or no requests at all, while an honest client sends its
files and is timed. The clients run on the same machine and take a part of its cores.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import random
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from arguments import at_least
from hostile import form, make_attacks, request

SCRIPT = Path(__file__).parents[1] / "scripts" / "serve.py"
SECONDS = 10  # of each measurement
ROUNDS = 3
CLIENTS = (1, 8, 32)
BATCHES = (8, 32)
# For hostile clients: a stalled one is closed after so long.
PATIENCE = ("--receive-seconds", "2", "--answer-seconds", "10")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that scripts/train.py wrote, or an artifact")
    parser.add_argument("images", type=Path, help="folder of JPEG files")
    parser.add_argument("--minutes", type=at_least(1), help="measure memory for so long")
    parser.add_argument("--hostile", type=at_least(1), help="send that many hostile requests")
    options = parser.parse_args()
    contents = [path.read_bytes() for path in sorted(options.images.rglob("*.jpg"))]
    if not contents:
        raise SystemExit(f"{options.images} holds no JPEG files.")
    if options.hostile:
        with service(options.run, *PATIENCE) as port:
            attack(port, contents, options.hostile)
        return
    with service(options.run) as port:
        if options.minutes:
            watch_memory(port, contents, options.minutes)
        else:
            compare(port, options.run, contents)


def compare(port: int, run: Path, contents: Sequence[bytes]) -> None:
    """Print what the model does in a process of its own, and what clients get, in turns, as other programs may run."""
    spawn = multiprocessing.get_context("spawn")
    found: dict[str, list[float]] = defaultdict(list)
    taken: dict[int, list[float]] = defaultdict(list)
    with ProcessPoolExecutor(1, spawn, prepare, (run, contents)) as child:
        for clients in CLIENTS:
            load(port, contents, clients, 3)  # to warm up
        for _ in range(ROUNDS):
            for batch, name in itertools.product(BATCHES, ("decoded images", "files")):
                rate = child.submit(in_process, batch, name == "files").result()
                found[f"in process, batches of {batch}, {name}"].append(rate)
            for clients in CLIENTS:
                taken[clients] += (new := load(port, contents, clients, SECONDS))
                found[f"{clients} clients"].append(len(new) / SECONDS)
    for name, rates in found.items():
        print(f"{name}: {np.median(rates):.1f} images/s ({min(rates):.1f} to {max(rates):.1f})")
    for clients, times in taken.items():
        print(f"{clients} clients: {percentiles(times)}")


def prepare(run: Path, contents: Sequence[bytes]) -> None:
    """Load the model in the process of its own."""
    from tlkeras.run.load_run import load_run
    from tlkeras.run.predictor import load_predictor

    Reference.predictor, Reference.contents = load_predictor(load_run(run)), contents


class Reference:
    """What the process of its own keeps."""

    predictor: Any
    contents: Sequence[bytes]


def in_process(batch: int, from_files: bool) -> float:
    """Return how many images the model takes in a second without a service."""
    predictor, contents = Reference.predictor, Reference.contents
    read = predictor.run.modality.read
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        decoded = np.stack(list(pool.map(read, (contents * batch)[:batch])))
        predictor.outputs(decoded)
        count, began = 0, time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            files = [contents[(count + number) % len(contents)] for number in range(batch)]
            predictor.outputs(np.stack(list(pool.map(read, files))) if from_files else decoded)
            count += batch
        return count / (time.perf_counter() - began)


@contextmanager
def service(run: Path, *options: str) -> Iterator[int]:
    """Start the service and yield its port."""
    command = [sys.executable, str(SCRIPT), str(run), "--port", "0", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r":(\d+);", process.stdout.readline())[1])
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield port
    finally:
        process.terminate()
        process.wait()


def exchange(connection: socket.socket, sent: bytes) -> int:
    """Send a request, read the answer to its end, and return the status."""
    connection.sendall(sent)
    received = b""
    while b"\r\n\r\n" not in received:
        received += (chunk := connection.recv(65536))
        if not chunk:
            raise ConnectionError("closed")
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return int(head[9:12])


def load(port: int, contents: Sequence[bytes], clients: int, seconds: float) -> list[float]:
    """Return how long each request took that clients sent one after the other, each on its connection."""
    requests, ends, taken = [request(form(content)) for content in contents], time.perf_counter() + seconds, []

    def client(number: int) -> None:
        rng = random.Random(number)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            while (began := time.perf_counter()) < ends:
                status = exchange(connection, rng.choice(requests))
                if status != 200:
                    raise RuntimeError(f"The service answered {status}.")
                taken.append(time.perf_counter() - began)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, range(clients)))
    return taken


def percentiles(taken: Sequence[float]) -> str:
    """Return the times of requests in words."""
    p50, p99 = np.quantile(taken, (0.5, 0.99)) * 1000
    return f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"


def metrics(port: int) -> dict[str, float]:
    """Return the metrics of the service by their names with labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def memory(port: int) -> str:
    """Return the resident memory of the service in words."""
    return f"{metrics(port)['process_resident_memory_bytes'] / 1e6:.0f} MB"


def watch_memory(port: int, contents: Sequence[bytes], minutes: int) -> None:
    """Print the memory of the service each minute under load."""
    print(f"before: {memory(port)}", flush=True)
    for minute in range(1, minutes + 1):
        taken = load(port, contents, 8, 60)
        print(f"minute {minute}: {memory(port)}, {len(taken)} requests", flush=True)


def attack(port: int, contents: Sequence[bytes], count: int) -> None:
    """Print how hostile requests were answered, and what an honest client noticed."""
    attacks, answers, over, honest = make_attacks(contents[0], 0), Counter[str](), threading.Event(), []
    plan = [(kind, *make()) for kind, make in attacks.items() for _ in range(-(-count // len(attacks)))][:count]
    random.Random(0).shuffle(plan)

    def be_honest() -> None:
        while not over.is_set():
            honest.extend(load(port, contents, 1, 5))

    load(port, contents, 8, 5)
    print(f"before: {memory(port)}", flush=True)
    client = threading.Thread(target=be_honest)
    client.start()
    with ThreadPoolExecutor(32) as pool:
        for kind, answer in pool.map(lambda one: (one[0], send(port, *one[1:])), plan):
            answers[f"{kind}: {answer}"] += 1
    over.set()
    client.join()
    print(json.dumps(dict(sorted(answers.items())), indent=2))
    print(f"the honest client: {len(honest)} requests, {percentiles(honest)}")
    failed = {name: value for name, value in metrics(port).items()
              if name.startswith("tlkeras_requests_total") and 'status="5' in name}  # fmt: skip
    print(f"after: {memory(port)}; answered 5xx: {failed or 'none'}")


def send(port: int, sent: bytes, then: str) -> str:
    """Send bytes and return the status of the answer, or "closed"."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
            connection.sendall(sent)
            if then == "vanish":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                return "vanished"
            answer = connection.recv(65536)
            return answer[9:12].decode() if answer else "closed"
    except ConnectionError:
        return "closed"


if __name__ == "__main__":
    main()
