"""Validation accuracy over several seeds: tlkeras against the plain loop of the Keras guide, each run a fresh process.

    python benchmarks/accuracy.py DATA --weights FILE

DATA is a folder with train and val. The validation pictures choose the epoch and nothing else.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train and val")
    parser.add_argument("--weights", required=True, help="weights of MobileNetV2, no top")
    parser.add_argument("--seeds", type=int, default=5, help="runs of tlkeras")
    parser.add_argument("--plain-seeds", type=int, default=3, help="runs of the plain loop; 0 leaves it out")
    parser.add_argument("--engine", default="tensorflow", help="what computes the features of tlkeras")
    options = parser.parse_args()
    ours, plain = [], []
    for seed in range(max(options.seeds, options.plain_seeds)):
        if seed < options.seeds:
            figures = run_tlkeras(options, seed)
            ours.append(figures["validation"]["accuracy"])
            print(f"seed {seed}: tlkeras {ours[-1]:.4f}, seconds {figures['seconds']}", flush=True)
        if seed < options.plain_seeds:
            figures = run_plain(options, seed)
            plain.append(figures["best"])
            print(f"seed {seed}: plain Keras loop {figures['best']:.4f}, seconds {figures['seconds']}", flush=True)
    count = sum(1 for _ in (options.data / "val").rglob("*.jpg"))
    for name, values in (("tlkeras", ours), ("plain Keras loop", plain)):
        if values:
            print(
                f"{name}: median {statistics.median(values):.4f}, least {min(values):.4f}, greatest {max(values):.4f} "
                f"({len(values)} seeds, {count} validation pictures)"
            )


def run_tlkeras(options: argparse.Namespace, seed: int) -> dict:
    """One run of scripts/train.py with its defaults; returns its metrics.json."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        arguments = ["--data", options.data, "--weights", options.weights, "--seed", seed, "--run-dir", run]
        arguments += ["--engine", options.engine]
        execute(HERE.parent / "scripts" / "train.py", "--backbone", "MobileNetV2", *arguments)
        return json.loads((run / "metrics.json").read_text())


def run_plain(options: argparse.Namespace, seed: int) -> dict:
    """One run of plain_keras.py with the same weights; returns what it prints."""
    printed = execute(HERE / "plain_keras.py", options.data, "--weights", options.weights, "--seed", seed)
    return json.loads(printed.splitlines()[-1])


def execute(*arguments: object) -> str:
    """Run a Python program to its end; its output, or an error with it."""
    done = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
