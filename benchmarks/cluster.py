"""Two workers of a core each against one: images per second of the feature pass, and what a killed worker costs.

    python benchmarks/cluster.py
    python benchmarks/cluster.py --training      # of all layers, without a cluster and with --cluster-training

The images are noise, the backbone has random weights: neither matters for the time. Every process has one core, the one
without a cluster too. The rate is that from the first result to the last one; the start of Ray and of TensorFlow in the
workers comes on top, and is in the seconds of the whole pass. Of a training the second epoch of phase 2 is timed.
"""

import argparse
import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from arguments import at_least

CORES = sorted(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=at_least(1024), default=2048, help="of noise, 224 px")
    parser.add_argument("--backbone", default="MobileNetV2", help="of scripts/summary.py")
    parser.add_argument("--training", action="store_true", help="train all layers on an eighth of the images")
    options = parser.parse_args()
    if len(CORES) < 2:
        raise SystemExit("This needs two cores.")
    os.environ |= {"RAY_worker_niceness": "0"}  # Ray's own is 15, which is slower where anything else runs
    os.sched_setaffinity(0, CORES[:1])  # before TensorFlow counts them
    if options.training:
        measure_training("one process, no cluster", options, None)
        measure_training("one worker", options, "local:1")
        os.sched_setaffinity(0, CORES[:2])
        measure_training("two workers", options, "local:2")
        return
    job, below = make_job(options.images, options.backbone)
    print(f"{'':28} {'seconds':>8} {'of start':>8} {'img/s':>7}  equal")
    expected = measure("one process, no cluster", job, below, None, None)
    measure("one worker", job, below, "local:1", expected)
    os.sched_setaffinity(0, CORES[:2])
    measure("two workers", job, below, "local:2", expected)
    measure("two workers, one is killed", job, below, "local:2", expected, kill_one)


def make_job(count: int, backbone: str):
    """Return a job over images of noise, and the part of a model that computes features of them."""
    from tlkeras.runtime import load_tensorflow

    load_tensorflow(0)
    from tlkeras.config.train import TrainingOptions
    from tlkeras.data.pipeline import SplitData
    from tlkeras.features.extract import ExtractionJob
    from tlkeras.features.split_model import split_model
    from tlkeras.models.builders import build_classifier

    images = np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    below = split_model(build_classifier(backbone, 2, weights="none", image_size=224), 0).below
    data = SplitData(images, np.arange(count), np.zeros((count, 2), np.float32))
    return ExtractionJob(data, TrainingOptions(), False), below


def measure(title: str, job, below, address: str | None, expected, early: Callable[[], None] | None = None):
    """Print a line about one pass, and return its features."""
    from tlkeras.features.engines import BATCH_SIZE, make_engine
    from tlkeras.features.shards import ShardedJob

    arrays = [np.zeros(shape, np.float32) for shape in job.shapes(below)]
    times: list[tuple[float, int]] = []
    total = -(-len(job.data) // BATCH_SIZE)

    def keep(steps: int) -> None:
        nonlocal early
        times.append((time.perf_counter(), steps))
        if early and steps >= total / 4:
            early = early()

    start = time.perf_counter()
    if address:
        from tlkeras.cluster import connected

        with connected(address):
            ShardedJob.of(job, address, below).fill(None, arrays, keep=keep)
    else:
        job.fill(make_engine(below, "tensorflow"), arrays, keep=keep)
    seconds = time.perf_counter() - start
    (first, before), (last, steps) = times[0], times[-1]
    rate = (steps - before) * BATCH_SIZE / (last - first)
    equal = "" if expected is None else all(map(np.array_equal, arrays, expected))
    print(f"{title:28} {seconds:>8.1f} {first - start:>8.1f} {rate:>7.1f}  {equal}", flush=True)
    return arrays


def measure_training(title: str, options: argparse.Namespace, address: str | None) -> None:
    """Print how many images a second all layers are trained on."""
    from tlkeras.runtime import load_tensorflow

    load_tensorflow(0)
    import keras

    from tlkeras.config.train import TrainConfig
    from tlkeras.data.pipeline import SplitData
    from tlkeras.models.builders import build_classifier
    from tlkeras.training.two_phase import train_two_phases

    count = options.images // 8
    images = np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), dtype=np.uint8)
    rows, targets, ends = np.arange(count), np.eye(2, dtype="float32"), list[float]()
    train = SplitData(images, rows, targets[rows % 2])
    model = build_classifier(options.backbone, 2, weights="none", image_size=224)
    config = TrainConfig(frozen_epochs=1, finetune_epochs=2, unfreeze="all", views=0, cluster=address,
                         cluster_training=address is not None)  # fmt: skip
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    train_two_phases(model, train, SplitData(images, rows[:2], targets), config, callbacks=[note])
    print(f"{title:28} {count / (ends[-1] - ends[-2]):>7.1f} img/s", flush=True)


def kill_one() -> None:
    """Kill a process that computes for the cluster."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if path.read_bytes().startswith(b"ray::_call"):
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise SystemExit("There was no worker to kill.")


if __name__ == "__main__":
    main()
