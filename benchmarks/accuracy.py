"""Validation accuracy over several seeds: tlkeras against the plain loop of the Keras guide, each run a fresh process.

    python benchmarks/accuracy.py DATA --weights FILE

DATA is a folder with train and val. The validation images choose the epoch and nothing else.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from arguments import at_least, train_val_folder

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=train_val_folder, help="folder with train and val")
    parser.add_argument("--weights", required=True, help="weights of MobileNetV2, no top")
    parser.add_argument("--seeds", type=at_least(0), default=5, help="runs of tlkeras; 0 leaves it out")
    parser.add_argument("--plain-seeds", type=at_least(0), default=3, help="runs of the plain loop; 0 leaves it out")
    parser.add_argument("--engine", default="tensorflow", help="what computes the features of tlkeras")
    options = parser.parse_args()
    if not options.seeds + options.plain_seeds:
        parser.error("--seeds and --plain-seeds are 0: there is nothing to measure")
    ours, plain, count = [], [], 0
    for seed in range(max(options.seeds, options.plain_seeds)):
        if seed < options.seeds:
            metrics = run_tlkeras(options, seed)
            ours.append(metrics["validation"]["accuracy"])
            count = metrics["validation"]["count"]
            print(f"seed {seed}: tlkeras {ours[-1]:.4f}, seconds {metrics['seconds']}", flush=True)
        if seed < options.plain_seeds:
            result = run_plain(options, seed)
            plain.append(result["best"])
            count = result["count"]
            print(f"seed {seed}: plain Keras loop {result['best']:.4f}, seconds {result['seconds']}", flush=True)
    for name, values in (("tlkeras", ours), ("plain Keras loop", plain)):
        if values:
            print(
                f"{name}: median {statistics.median(values):.4f}, min {min(values):.4f}, max {max(values):.4f} "
                f"({len(values)} seeds, {count} validation images)"
            )


def run_tlkeras(options: argparse.Namespace, seed: int) -> dict:
    """Run scripts/train.py with its defaults; return its metrics.json."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        arguments = ["--data", options.data, "--weights", options.weights, "--seed", seed, "--run-dir", run]
        arguments += ["--engine", options.engine]
        execute(HERE.parent / "scripts" / "train.py", "--backbone", "MobileNetV2", *arguments)
        return json.loads((run / "metrics.json").read_text())


def run_plain(options: argparse.Namespace, seed: int) -> dict:
    """Run plain_keras.py with the same weights; return what it prints."""
    printed = execute(HERE / "plain_keras.py", options.data, "--weights", options.weights, "--seed", seed)
    return json.loads(printed.splitlines()[-1])


def execute(*arguments: object) -> str:
    """Run a Python program to its end; return its output.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
