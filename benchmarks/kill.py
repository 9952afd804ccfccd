"""Kill a small two-phase run at random moments, and fill its disk, and look whether it goes on as if nothing had been.

    python benchmarks/kill.py

Each run is killed with SIGKILL once, at a moment drawn from the whole time that a run takes, and gone on with by
`--resume`. Then runs get a disk of their own (a tmpfs, for which the program needs `unshare`) that is filled to the
last byte at a random moment; they must say so, and go on when there is room again. Compared with a run that nobody
disturbed are the bits of all weights, history.csv and metrics.json, times aside. "lost s" is what both parts took
beyond an undisturbed run, the second start of Python and TensorFlow included.
"""

import argparse
import hashlib
import json
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import defaultdict
from pathlib import Path
from statistics import median

import h5py
import numpy as np
from PIL import Image

TRAIN = Path(__file__).parents[1] / "scripts" / "train.py"
OPTIONS = ["--backbone", "MobileNet-0.25", "--weights", "none", "--image-size", "64", "--unfreeze", "all"]
OPTIONS += ["--frozen-epochs", "8", "--finetune-epochs", "8", "--batch-size", "8", "--views", "4", "--cache-disk", "0"]
STAGES = ["start", "data scan", "feature pass", "phase 1", "between the phases", "phase 2", "export"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--full-disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place, rng = Path(folder), random.Random(options.seed)
        make_pictures(place / "pictures")
        whole, seconds = undisturbed(place)
        print(f"An undisturbed run takes {seconds:.1f} s.")
        report("killed in", [killed(place, whole, seconds, rng) for _ in range(options.kills)])
        report("disk full in", [full_disk(place, whole, seconds, rng) for _ in range(options.full_disks)])


def make_pictures(folder: Path) -> None:
    """Sixty noisy pictures in three colours."""
    rng = np.random.default_rng(0)
    for number in range(60):
        pixels = rng.integers(0, 120, (80, 80, 3), dtype=np.uint8)
        pixels[..., number % 3] += 80
        path = folder / "rgb"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def start(place: Path, run: Path, *options: str, **arguments) -> subprocess.Popen:
    """`train.py` in a process of its own."""
    command = [sys.executable, TRAIN, "--data", place / "pictures", "--run-dir", run, *OPTIONS, *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **arguments)


def undisturbed(place: Path) -> tuple[str, float]:
    """What a run that nobody disturbs gives, and the median of the seconds that three of them take."""
    outcomes, seconds = set(), []
    for number in range(3):
        begin = time.perf_counter()
        said = start(place, place / f"whole{number}").communicate()[0]
        seconds.append(time.perf_counter() - begin)
        outcomes.add(outcome(place / f"whole{number}", said))
    if len(outcomes) > 1:
        raise SystemExit("Undisturbed runs differ among themselves; nothing can be compared here.")
    return outcomes.pop(), median(seconds)


def killed(place: Path, whole: str, seconds: float, rng: random.Random) -> tuple[str, bool, float]:
    """Stage in which a run was killed, whether it then ended like the whole one, and the seconds lost."""
    run = place / "run"
    begin = time.perf_counter()
    process = start(place, run)
    time.sleep(rng.uniform(0, seconds))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stage = stage_of(run)
    said = start(place, run, "--resume").communicate()[0]
    lost = time.perf_counter() - begin - seconds
    same = outcome(run, said) == whole
    for path in (run, run.with_name(f".{run.name}.partial")):
        shutil.rmtree(path, ignore_errors=True)
    return stage, same, lost


def full_disk(place: Path, whole: str, seconds: float, rng: random.Random) -> tuple[str, bool, float]:
    """The same for a run whose disk becomes full at a random moment; it must say so, and go on when there is room."""
    disk, left = place / "disk", place / "left"
    disk.mkdir(exist_ok=True)
    command = [sys.executable, TRAIN, "--data", place / "pictures", "--run-dir", disk / "run", *OPTIONS]
    train = shlex.join(map(str, command))
    script = f"""
        mount -t tmpfs -o size=100m tmpfs {disk}
        {train} > {place}/first.txt 2>&1 &
        sleep {rng.uniform(0, seconds)}
        cat /dev/zero > {disk}/ballast 2>/dev/null
        wait $!
        cp -r {disk} {left}
        rm {disk}/ballast
        {train} --resume 2>&1
        cp -r {disk}/run {place}/run
    """
    begin = time.perf_counter()
    said = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True).stdout
    lost = time.perf_counter() - begin - seconds
    stage, first = stage_of(left / "run"), (place / "first.txt").read_text()
    told = (left / "run").exists() or "The disk is full" in first.splitlines()[-1]
    same = told and outcome(place / "run", said) == whole
    if not same:
        print(first, said)
    for path in (left, place / "run"):
        shutil.rmtree(path, ignore_errors=True)
    return stage, same, lost


def stage_of(run: Path) -> str:
    """Where a run was when it died, by what it left."""
    if run.exists():
        return "export"
    partial = run.with_name(f".{run.name}.partial")
    log = (partial / "log.txt").read_text() if (partial / "log.txt").exists() else ""
    epochs = [int(path.name.partition("-")[0]) for path in (partial / "checkpoints").glob("*.npz")]
    if not partial.exists():
        return "start"
    if "Data:" not in log:
        return "data scan"
    if "Phase 1" not in log:
        return "feature pass"
    if "Phase 2" not in log:
        return "between the phases" if max(epochs, default=0) == 8 else "phase 1"
    return "export" if max(epochs, default=0) == 16 else "phase 2"


def outcome(run: Path, said: str) -> str:
    """A digest of all that must not differ between two runs."""
    if not (run / "metrics.json").exists():
        return said
    metrics = json.loads((run / "metrics.json").read_text()) | {"seconds": None}
    result = hashlib.sha256(json.dumps(metrics).encode() + (run / "history.csv").read_bytes())
    with zipfile.ZipFile(run / "model.keras") as archive, h5py.File(archive.open("model.weights.h5")) as file:
        datasets = {}
        file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        for name in sorted(datasets):
            result.update(name.encode() + datasets[name][()].tobytes())
    return result.hexdigest()


def report(title: str, results: list[tuple[str, bool, float]]) -> None:
    """A line for each stage."""
    print(f"{title:<20} {'times':>5} {'the same':>8} {'lost s':>7}  range")
    by_stage = defaultdict(list)
    for stage, same, lost in results:
        by_stage[stage].append((same, lost))
        by_stage["all"].append((same, lost))
    for stage in [*STAGES, "all"]:
        if of_stage := by_stage[stage]:
            lost = [one for _, one in of_stage]
            same = sum(one for one, _ in of_stage)
            print(f"{stage:<20} {len(lost):>5} {same:>8} {median(lost):>7.1f}  {min(lost):.1f}–{max(lost):.1f}")


if __name__ == "__main__":
    main()
