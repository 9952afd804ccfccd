"""--cluster: what workers compute is what one process computes, in its order, though a worker is killed meanwhile."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlkeras import cluster
from tlkeras.cluster import Workers, connected, in_order
from tlkeras.config.cluster import check_cluster
from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.features import shards
from tlkeras.features.engines import make_engine
from tlkeras.features.extract import ExtractionJob
from tlkeras.features.split_model import split_model
from tlkeras.models.builders import build_classifier
from tlkeras.run.train import train

SCRIPTS = Path(__file__).parents[1] / "scripts"
SMALL = ["--backbone", "MobileNetV2-0.35", "--weights", "bundled", "--image-size", "32", "--frozen-epochs", "1"]
SMALL += ["--finetune-epochs", "1", "--unfreeze", "block_13"]
WAIT = 120  # seconds


def test_where_ray_is_absent_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr("tlkeras.config.cluster.find_spec", lambda name: None)
    with pytest.raises(UserError, match="--cluster needs Ray, which is not installed: pip install ray"):
        check_cluster("local:2")
    check_cluster(None)


@pytest.mark.parametrize(
    "address", ["", "local", "local:0", "local:two", "10.0.0.5", "10.0.0.5:", ":6379", "head:port"]
)
def test_what_is_no_address_is_refused(monkeypatch, address):
    monkeypatch.setattr("tlkeras.config.cluster.find_spec", lambda name: True)
    with pytest.raises(UserError, match=f"--cluster was {address}; give HOST:PORT"):
        check_cluster(address)
    for valid in ("local:2", "10.0.0.5:6379", "[::1]:6379", "head.example.org:6379"):
        check_cluster(valid)


def test_what_a_cluster_does_not_do_is_refused(monkeypatch):
    monkeypatch.setattr("tlkeras.config.cluster.find_spec", lambda name: True)
    with pytest.raises(UserError, match="--cluster goes without an augmentation of your own"):
        train(data="digits", cluster="local:2", augment=lambda images: images)
    with pytest.raises(UserError, match="--cluster-training was given without --cluster"):
        train(data="digits", cluster_training=True)
    for options, named in (({"batch_norm": "train", "unfreeze": "all"}, "--batch-norm was train"),
                           ({"lora_rank": 4}, "--lora-rank"), ({"devices": 2}, "--devices was 2")):  # fmt: skip
        with pytest.raises(UserError, match=f"^{named}.*--cluster-training"):
            train(data="digits", cluster="local:2", cluster_training=True, **options)
    # [part: choose]
    from tlkeras.config.choose import ChooseConfig

    with pytest.raises(UserError, match="--cluster was given without --search"):
        ChooseConfig(data="digits", cluster="local:2").check()
    # [/part]
    # [part: learning-curve]
    from tlkeras.config.learning_curve import LearningCurveConfig

    with pytest.raises(UserError, match="--cluster is for a single training"):
        LearningCurveConfig(data="digits", cluster="local:2").check()
    # [/part]


def test_a_worker_has_a_machine_or_a_gpu():
    assert Workers.of([{"CPU": 8.0}, {"CPU": 8.0}, {"memory": 1e9}]) == Workers(2, 8)
    assert Workers.of([{"CPU": 8.0}, {"CPU": 16.0}]) == Workers(3, 8)
    assert Workers.of([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0, "GPU": 2.0}]) == Workers(6, 4, 1)
    assert Workers.of([{"CPU": 16.0, "GPU": 4.0}, {"CPU": 8.0}]) == Workers(3, 8)
    with pytest.raises(UserError, match="has no cores"):
        Workers.of([{"CPU": 0.0}])


@pytest.mark.parametrize("views", [1, 3])
@pytest.mark.parametrize("augmented", [False, True])
def test_shards_hold_what_the_whole_pass_computes(tiny, noise, monkeypatch, views, augmented):
    """Also where the pass is resumed in the middle of a view; the shards go through pickle, as to another machine."""
    monkeypatch.setattr(shards, "connected", lambda address: contextlib.nullcontext(Workers(2, 1)))
    monkeypatch.setattr(shards, "in_order", one_after_the_other)
    monkeypatch.setattr(shards, "SHARD", 2)
    below = split_model(build_classifier(tiny, 3, weights="none", image_size=16), 0).below
    data = shards_data(noise(150, 16))
    job = ExtractionJob(data, TrainingOptions(views=views, engine="tensorflow"), augmented)
    whole, parts = ([np.zeros(shape, "float32") for shape in job.shapes(below)] for _ in range(2))
    job.fill(make_engine(below, "tensorflow"), whole)
    kept: list[int] = []
    sharded = shards.ShardedJob.of(job, "somewhere:1", below)
    sharded.fill(None, parts, keep=kept.append)
    np.testing.assert_array_equal(parts[0], whole[0])
    assert kept[0] == 2 and kept[-1] == job.views * 5
    parts[0][3 * 32 :] = 0
    sharded.fill(None, parts, first=3)
    np.testing.assert_array_equal(parts[0], whole[0])


def shards_data(images: np.ndarray):
    from tlkeras.data.pipeline import SplitData

    return SplitData(
        images, np.arange(len(images))[::-1].copy(), np.eye(3, dtype="float32")[np.arange(len(images)) % 3]
    )


def one_after_the_other(load: Callable, compute: Callable, given, workers) -> Iterator:
    import pickle

    loaded = load()
    for shard in given:
        yield compute(loaded, pickle.loads(pickle.dumps(shard)))


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Start a cluster of two nodes, each of which has one core for itself, and return its address."""
    pytest.importorskip("ray")
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # 15, where other programs run too
    with cluster.parts_of_this_machine(2) as started:
        yield started


@pytest.fixture
def images(tmp_path, monkeypatch, noise) -> Path:
    """Return a folder of two classes, in the working directory."""
    monkeypatch.chdir(tmp_path)
    for number, pixels in enumerate(noise(2000, 32)):
        path = Path("images", ("dark", "light")[number % 2], f"{number:04}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels // 2 + 100 * np.uint8(number % 2)).save(path)
    return Path("images")


def start(script: str, *arguments: object, cores: int | None = None) -> subprocess.Popen:
    """Start a script, perhaps with some of the cores only."""

    def pin() -> None:
        if cores:
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])

    environment = os.environ | {"PYTHONPATH": str(SCRIPTS.parent), "TLKERAS_CACHE": f"cache-{cores}"}
    return subprocess.Popen([sys.executable, SCRIPTS / script, *map(str, arguments)], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=pin)  # fmt: skip


def finish(process: subprocess.Popen) -> str:
    """Wait for a script that ends well and says nothing of Ray's own; return what it printed."""
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert "Traceback" not in err and "(raylet)" not in out + err
    return out


def kill_worker(ready: Callable[[], bool] = lambda: True) -> None:
    """Kill a process that computes for the cluster of the tests, once something is so."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        nodes = children(os.getpid(), b"raylet")
        busy = [worker for node in nodes for worker in children(node, b"ray::_call")]
        if busy and ready():
            os.kill(busy[0], signal.SIGKILL)
            return
        time.sleep(0.02)
    pytest.fail("there was no worker to kill")


def children(parent: int, name: bytes) -> list[int]:
    """Return the numbers of the processes that a process has started, and that are called so."""
    found = [path.parent for path in Path("/proc").glob("[0-9]*/cmdline")
             if read(path).split(b"\0")[0].split(b"/")[-1].startswith(name)]  # fmt: skip
    return [int(path.name) for path in found if f"PPid:\t{parent}\n".encode() in read(path / "status")]


def read(path: Path) -> bytes:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


def square_but_die_once(loaded: Path, number: int) -> int:
    if number == 3 and not loaded.exists():
        loaded.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 99:
        raise UserError("It was 99.")
    if number == 100:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


@pytest.mark.slow
def test_results_come_in_order_and_mistakes_as_sentences(address, tmp_path, capfd):
    from ray import cloudpickle

    with connected(address) as workers, connected("local:7"):  # the second one uses the first
        assert workers == Workers(2, 1)
        load = lambda: tmp_path / "died"  # noqa: E731, it goes to another process
        with pytest.raises(UserError, match=r"No module named .*All machines need tlkeras"):
            list(in_order(load, square_but_die_once, [1], workers))
        cloudpickle.register_pickle_by_value(sys.modules[__name__])
        assert list(in_order(load, square_but_die_once, range(20), workers)) == [n**2 for n in range(20)]
        assert (tmp_path / "died").exists()
        with pytest.raises(UserError, match=r"^It was 99\.$"):
            list(in_order(load, square_but_die_once, [99], workers))
        with pytest.raises(UserError, match="was lost 4 times, as its worker ended"):
            list(in_order(load, square_but_die_once, [100], workers))
    assert capfd.readouterr().out == ""


# [part: batch]
@pytest.mark.slow
def test_predictions_are_those_of_one_process(address, images):
    finish(start("train.py", "--data", images, "--run-dir", "run", *SMALL, "--views", 1))
    names = [*map(str, sorted(images.rglob("*.png"))), "gone.png"] * 4
    Path("list.txt").write_text("\n".join(names))
    finish(start("predict.py", "run", "--from-file", "list.txt", "--output", "one.csv", cores=1))
    command = ["predict.py", "run", "--from-file", "list.txt", "--output", "two.csv", "--cluster", address]
    process = start(*command)
    kill_worker(lambda: Path("two.csv").exists())
    assert "Predicted 8,004 images, of which 4 cannot be read" in finish(process)
    assert Path("two.csv").read_text() == Path("one.csv").read_text()
    finish(start(*command, "--resume"))
    assert Path("two.csv").read_text() == Path("one.csv").read_text()


# [/part]
@pytest.mark.slow
@pytest.mark.parametrize("space", ["memory", "streamed"])
def test_features_are_those_of_one_process(address, images, space):
    options = [
        *SMALL,
        "--views",
        4,
        "--engine",
        "tensorflow",
        *(["--memory-gb", 0, "--disk-gb", 0] if space == "streamed" else []),
    ]
    finish(start("train.py", "--data", images, "--run-dir", "one", *options, cores=1))
    process = start("train.py", "--data", images, "--run-dir", "two", *options, "--cluster", address)
    kill_worker()
    assert "Features (pooled and below" in finish(process)
    one, two = ({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.bin")}
                for folder in (Path("cache-1"), Path("cache-None")))  # fmt: skip
    assert one and one == two


@pytest.mark.slow
def test_training_is_that_of_one_process(address, images):
    """Its history, though a worker is killed in phase 2; dropout would have other masks."""
    options = [*SMALL, "--finetune-epochs", 4, "--views", 1, "--dropout", 0, "--cache-gb", 0]
    finish(start("train.py", "--data", images, "--run-dir", "one", *options))
    command = ["train.py", "--data", images, "--run-dir", "two", *options, "--cluster", address, "--cluster-training"]
    process = start(*command)
    log = Path(".two.partial/log.txt")
    kill_worker(lambda: log.exists() and "epoch 2" in log.read_text())  # the first one of phase 2
    assert "Workers: 2, each with at most 16 of the 32 examples of a batch." in finish(process)
    one, two = (np.genfromtxt(f"{name}/history.csv", delimiter=",", names=True) for name in ("one", "two"))
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(two[name], one[name], atol=1e-4)
    assert len(two) == 5


# [part: choose]
@pytest.mark.slow
def test_a_search_goes_on_where_a_worker_was_killed(address, images):
    process = start("choose.py", images, "--search", *SMALL, "--trials", 6, "--output", "out", "--cluster", address)
    kill_worker(lambda: "COMPLETE" in states() and states(BEATING).count("RUNNING") == 2)
    assert "best: trial" in finish(process)
    assert states().count("FAIL") == 1 and states().count("COMPLETE") + states().count("PRUNED") >= 6
    assert "cluster" not in Path("out/config.yaml").read_text()


# Trials that have given a sign of life: without one Optuna never knows that they have failed.
BEATING = "select distinct trials.trial_id, state from trials join trial_heartbeats using (trial_id)"


def states(query: str = "select trial_id, state from trials") -> list[str]:
    """Return the state of each trial in the database."""
    import sqlite3

    with contextlib.suppress(sqlite3.Error), sqlite3.connect("file:out/search.db?mode=ro", uri=True) as base:
        return [state for _, state in base.execute(query)]
    return []


# [/part]
@pytest.mark.slow
def test_an_address_where_nothing_answers(images):
    pytest.importorskip("ray")
    process = start("train.py", "--data", images, "--run-dir", "run", *SMALL, "--cluster", "127.0.0.1:9")
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 2 and err.startswith(
        "train.py: --cluster was 127.0.0.1:9, and there is no Ray cluster"
    )
    assert "Traceback" not in err and not Path("run").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_what_is_stopped_leaves_no_process(images, number, code):
    pytest.importorskip("ray")
    process = start("train.py", "--data", images, "--run-dir", "run", *SMALL, "--cluster", "local:2")
    deadline = time.monotonic() + WAIT
    while len(nodes := children(process.pid, b"raylet")) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(nodes) == 2
    time.sleep(5)
    process.send_signal(number)
    _, err = process.communicate(timeout=WAIT)
    assert process.returncode == code and "Traceback" not in err
    assert not [node for node in nodes if Path(f"/proc/{node}").exists()]
