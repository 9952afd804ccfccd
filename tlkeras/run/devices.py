"""How many devices train; several are tested in a process of their own first, which can hang without harm."""

import logging
import os
import re
import subprocess
import sys
from collections.abc import Container
from pathlib import Path
from typing import Literal

from tlkeras.errors import UserError, first_sentence
from tlkeras.gpu_driver import driver_gpus

SECONDS = 180  # of the test; TensorFlow may compile its kernels for a new GPU first
PROGRAM = """from tlkeras.runtime import load_tensorflow
load_tensorflow(seed=0)
from tlkeras.training.distribute import self_test
self_test({!r})"""
ROOT = Path(__file__).parents[2]
# What is known of an error by words in it.
CAUSES = {
    r"RESOURCE_EXHAUSTED|out of memory|\bOOM\b": "a GPU has too little free memory; nvidia-smi shows who uses it",
    "nccl": "NCCL, which adds up over GPUs, failed; NCCL_DEBUG=INFO makes it say why",
    "peer access|P2P": "the GPUs cannot reach each other's memory; NCCL_P2P_DISABLE=1 goes without",
}
ONE = "--devices 1 trains on one."
log = logging.getLogger("tlkeras")


def choose_devices(given: int | Literal["auto"], batch_size: int, in_python: Container[str] = ()) -> int:
    """Return how many devices train, and say so where they are several; refuse those that do not work together.

    "auto" is all GPUs that TensorFlow can use, or one device. A backbone that was given in Python is on one already.
    """
    if "backbone" in in_python and given not in (1, "auto"):
        raise UserError(f"--devices was {given}, and backbone= is a model that was built on one. Leave --devices out.")
    if given == 1 or (given == "auto" and ("backbone" in in_python or len(driver_gpus()) < 2)):
        return 1
    if given != "auto" and given > batch_size:
        raise UserError(f"--devices was {given} and --batch-size {batch_size}; give each device at least one example.")
    count = max(1, min(check_devices(given), batch_size))  # TensorFlow may use none of them
    if count > 1:
        each = f"{-(-batch_size // count)}" if batch_size % count == 0 else f"at most {-(-batch_size // count)}"
        log.info("Devices: %d, each with %s of the %d examples of a batch.", count, each, batch_size)
    return count


def check_devices(given: int | Literal["auto"], seconds: float = SECONDS) -> int:
    """Return how many devices passed the test; refuse them, with the reason, where they did not."""
    try:
        done = run_apart(PROGRAM.format(given), seconds)
    except subprocess.TimeoutExpired as error:
        out = error.stdout or b""
        doing = (out.decode() if isinstance(out, bytes) else out).splitlines() or ["loading TensorFlow"]
        raise UserError(
            f"The devices were tested before the training, and {doing[-1]} took more than {seconds:g} seconds. "
            f"NCCL_P2P_DISABLE=1 may help where GPUs cannot reach each other. {ONE}"
        ) from None
    if match := re.search(r"^devices (\d+)$", done.stdout, re.MULTILINE):
        return int(match[1])
    if match := re.search(r"^tlkeras\.errors\.UserError: (.*)$", done.stderr, re.MULTILINE):
        raise UserError(match[1])
    doing = done.stdout.splitlines() or ["loading TensorFlow"]
    raise UserError(f"The devices were tested before the training, and {doing[-1]} failed: {cause(done.stderr)}. {ONE}")


def run_apart(program: str, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a program of Python in a process of its own, which is killed when the time is over."""
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    command, environment = [sys.executable, "-c", program], os.environ | {"PYTHONPATH": paths}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds)


def cause(errors: str) -> str:
    """Return why the test failed, by what it wrote to standard error."""
    known = [text for words, text in CAUSES.items() if re.search(words, errors, re.IGNORECASE)]
    said = re.findall(r"^(?:[\w.]*(?:Error|Exception):| *\(0\)) (.+)$", errors, re.MULTILINE)
    return known[0] if known else first_sentence(Exception(said[-1] if said else "it does not say why"))
