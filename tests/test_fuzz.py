"""Damaged files of all kinds never crash, hang or name another file: a small portion of `benchmarks/fuzz.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.mark.parametrize(
    "command",
    [
        "fuzz.py --images 0 --models 0", "kill.py --kills 0 --aimed 0 --full-disks 0", "texts.py --seeds 0",
        "texts.py --train-sizes 0", "hub.py . --weights x --seeds 1", "accuracy.py . --weights x",
        "input.py --rounds 0",
    ],
)  # fmt: skip
def test_a_benchmark_that_would_measure_nothing_is_refused(command):
    script, *words = command.split()
    done = subprocess.run([sys.executable, FUZZ.with_name(script), *words], capture_output=True, text=True)
    assert done.returncode == 2 and f"{script}: error: " in done.stderr and done.stdout == ""


@pytest.mark.slow
def test_damaged_files():
    command = [sys.executable, FUZZ, "--images", "500", "--models", "500", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" in done.stdout and "refused" in done.stdout
