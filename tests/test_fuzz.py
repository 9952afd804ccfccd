"""Damaged files of all kinds never crash, hang or name another file: a small portion of `benchmarks/fuzz.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

FUZZ = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"


@pytest.mark.slow
def test_damaged_files():
    command = [sys.executable, FUZZ, "--images", "500", "--models", "500", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" in done.stdout and "refused" in done.stdout
