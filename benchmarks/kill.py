"""Kill a small two-phase run at random moments, or fill its disk, and check that it resumes as if nothing had been.

    python benchmarks/kill.py

Each run is killed with SIGKILL once and resumed with `--resume`: at a moment drawn from the whole time that a run
takes or, as some stages are too short to be hit by chance, a random fraction of a second after a stage began. Then runs
get a disk of their own (a tmpfs, for which the program needs `unshare`) that is filled to the last byte at a random
moment; they must say so, and resume when there is room again. A run that ended before is not counted.
Compared with a run that nobody disturbed are the bits of all weights, history.csv and metrics.json, times aside.
"lost s" is what both parts took beyond an undisturbed run, the second start of Python and TensorFlow included.
"""

import argparse
import contextlib
import hashlib
import json
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from statistics import median

import h5py
import numpy as np
from arguments import at_least
from PIL import Image

TRAIN = Path(__file__).parents[1] / "scripts" / "train.py"
OPTIONS = ["--backbone", "MobileNet-0.25", "--weights", "none", "--image-size", "64", "--unfreeze", "block_12"]
OPTIONS += ["--frozen-epochs", "8", "--finetune-epochs", "8", "--batch-size", "8", "--views", "4"]
STAGES = ["start", "data scan", "loading", "feature pass", "phase 1", "between the phases", "phase 2", "export"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=at_least(0), default=26, help="at random moments")
    parser.add_argument("--aimed", type=at_least(0), default=24, help="kills in each stage in turn")
    parser.add_argument("--full-disks", type=at_least(0), default=20, help="runs whose disk is filled")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if not options.kills + options.aimed + options.full_disks:
        parser.error("--kills, --aimed and --full-disks are 0: there is nothing to check")
    with tempfile.TemporaryDirectory() as folder:
        base, rng = Path(folder), random.Random(options.seed)
        make_images(base / "images")
        expected, seconds = undisturbed(base)
        print(f"An undisturbed run takes {seconds:.1f} s.")
        aims = [None] * options.kills + [STAGES[number % len(STAGES)] for number in range(options.aimed)]
        results = [report("killed in", [killed(base, expected, seconds, rng, aim) for aim in aims])]
        results += [
            report("disk full in", [full_disk(base, expected, seconds, rng) for _ in range(options.full_disks)])
        ]
    if not all(results):
        raise SystemExit("Some runs did not end as if nothing had been.")


def make_images(folder: Path) -> None:
    """Write sixty noisy images in three colors."""
    rng = np.random.default_rng(0)
    for number in range(60):
        pixels = rng.integers(0, 120, (80, 80, 3), dtype=np.uint8)
        pixels[..., number % 3] += 80
        path = folder / "rgb"[number % 3] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)


def train_command(base: Path, run: Path, *options: str) -> list:
    """Return the command of a run of `train.py`."""
    return [sys.executable, TRAIN, "--data", base / "images", "--run-dir", run, *OPTIONS, *options]


def start(base: Path, run: Path, *options: str) -> subprocess.Popen:
    """Start it in a process of its own, with a cache of features of its own."""
    environment = os.environ | {"TLKERAS_CACHE": str(base / "cache")}
    command = train_command(base, run, *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def undisturbed(base: Path) -> tuple[str, float]:
    """Return the outcome of a run that nobody disturbs, and the median of the seconds that three of them take.

    Raises:
        SystemExit: they fail, or differ.
    """
    outcomes, seconds = set(), []
    for number in range(3):
        clear(base)
        begin = time.perf_counter()
        output = start(base, base / f"undisturbed{number}").communicate()[0]
        seconds.append(time.perf_counter() - begin)
        if not (base / f"undisturbed{number}" / "metrics.json").exists():
            raise SystemExit(f"An undisturbed run failed:\n{output}")
        outcomes.add(outcome(base / f"undisturbed{number}", output))
    clear(base)
    if len(outcomes) > 1:
        raise SystemExit("Undisturbed runs differ among themselves; nothing can be compared here.")
    return outcomes.pop(), median(seconds)


def killed(base: Path, expected: str, seconds: float, rng: random.Random, aim: str | None) -> tuple[str, bool, float]:
    """Kill a run; return the stage it was in, whether it then ended like an undisturbed one, and the seconds lost."""
    run = base / "run"
    begin = time.perf_counter()
    process = start(base, run)
    if aim is None:
        time.sleep(rng.uniform(0, seconds))
    else:
        while process.poll() is None and STAGES.index(stage_of(run)) < STAGES.index(aim):
            time.sleep(0.001)
        time.sleep(rng.choice([0, rng.uniform(0, 0.3)]))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    stage, ended_before = stage_of(run), process.returncode == 0
    output = start(base, run, "--resume").communicate()[0]
    lost = time.perf_counter() - begin - seconds
    same = outcome(run, output) == expected
    clear(base)
    return killed(base, expected, seconds, rng, aim) if ended_before else (stage, same, lost)


def full_disk(base: Path, expected: str, seconds: float, rng: random.Random) -> tuple[str, bool, float]:
    """Do the same by filling the disk at a random moment; the run must say so, and resume when there is room."""
    disk, left = base / "disk", base / "left"
    disk.mkdir(exist_ok=True)
    train = shlex.join(map(str, train_command(base, disk / "run")))
    script = f"""
        mount -t tmpfs -o size=100m tmpfs {disk}
        export TLKERAS_CACHE={disk}/cache
        {train} > {base}/first.txt 2>&1 &
        sleep {rng.uniform(0, seconds)}
        cat /dev/zero > {disk}/ballast 2>/dev/null
        wait $!
        cp -r {disk} {left}
        rm {disk}/ballast
        {train} --resume 2>&1
        cp -r {disk}/run {base}/run
    """
    begin = time.perf_counter()
    output = subprocess.run(["unshare", "-rm", "sh", "-c", script], capture_output=True, text=True).stdout
    lost = time.perf_counter() - begin - seconds
    first = (base / "first.txt").read_text()
    stage, ended_before = stage_of(left / "run", first), (left / "run").exists()
    same = "The disk is full" in first.splitlines()[-1] and outcome(base / "run", output) == expected
    if not (same or ended_before):
        print(first, output)
    clear(base)
    return full_disk(base, expected, seconds, rng) if ended_before else (stage, same, lost)


def clear(base: Path) -> None:
    """Remove what a run left, its features in the cache too."""
    for name in ("run", ".run.partial", "left", "cache"):
        shutil.rmtree(base / name, ignore_errors=True)


def stage_of(run: Path, output: str = "") -> str:
    """Return where a run was when it ended, by what it left and printed."""
    if run.exists():
        return "export"
    partial = run.with_name(f".{run.name}.partial")
    if not (partial.exists() or output):
        return "start"
    with contextlib.suppress(OSError):
        output += (partial / "log.txt").read_text()
    last = max((int(path.name.partition("-")[0]) for path in (partial / "checkpoints").glob("0*.npz")), default=0)
    if "Phase 2" in output:
        return "export" if last == 16 else "phase 2"
    if "Phase 1" in output:
        return "between the phases" if last == 8 else "phase 1"
    return "feature pass" if "Backbone:" in output else "loading" if "Data:" in output else "data scan"


def outcome(run: Path, output: str) -> str:
    """Return a digest of all that must not differ between two runs."""
    if not (run / "metrics.json").exists():
        return output
    metrics = json.loads((run / "metrics.json").read_text()) | {"seconds": None}
    result = hashlib.sha256(json.dumps(metrics).encode() + (run / "history.csv").read_bytes())
    with zipfile.ZipFile(run / "model.keras") as archive, h5py.File(archive.open("model.weights.h5")) as file:
        datasets = {}
        file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        for name in sorted(datasets):
            result.update(name.encode() + datasets[name][()].tobytes())
    return result.hexdigest()


def report(title: str, results: list[tuple[str, bool, float]]) -> bool:
    """Print a line for each stage; return whether all is well."""
    if not results:
        return True
    print(f"{title:<20} {'times':>5} {'the same':>8} {'lost s':>7}  range", flush=True)
    for stage in [*STAGES, "all"]:
        if of_stage := [(same, lost) for where, same, lost in results if stage in (where, "all")]:
            same, lost = zip(*of_stage, strict=True)
            spread = f"{min(lost):.1f}–{max(lost):.1f}"
            print(f"{stage:<20} {len(lost):>5} {sum(same):>8} {median(lost):>7.1f}  {spread}", flush=True)
    return all(same for _, same, _ in results)


if __name__ == "__main__":
    main()
