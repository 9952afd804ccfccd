"""What the NVIDIA driver says of GPUs, and why TensorFlow cannot use one."""

import ctypes
import functools
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

QUERY = ["--query-gpu=name,memory.total,memory.used,driver_version", "--format=csv,noheader"]
PCI = Path("/sys/bus/pci/devices")
NVIDIA, DISPLAY = "0x10de", "0x03"  # vendor, and class of display controllers, on the PCI bus
DETAILS = "scripts/doctor.py tells more"
log = logging.getLogger("tlkeras")


@functools.cache
def ask_driver(*words: str) -> tuple[int, str]:
    """Return exit code and output of nvidia-smi, once in a process; -1 where there is none or it does not answer."""
    if not (program := shutil.which("nvidia-smi")):
        return -1, ""
    try:
        done = subprocess.run([program, *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return -1, "nvidia-smi did not answer"
    return done.returncode, (done.stdout + done.stderr).strip()


def driver_gpus() -> list[str]:
    """Return a line for each GPU that the driver knows: name, memory, memory in use, version of the driver."""
    code, text = ask_driver(*QUERY)
    return text.splitlines() if code == 0 and "No devices" not in text else []


def has_nvidia() -> bool:
    """Return whether an NVIDIA GPU is on the PCI bus, whatever the driver says."""
    for device in PCI.glob("*"):
        try:
            words = [(device / name).read_text().strip() for name in ("vendor", "class")]
        except OSError:
            continue
        if words[0] == NVIDIA and words[1].startswith(DISPLAY):
            return True
    return False


def why_no_gpu(build: Mapping[str, Any]) -> str:
    """Return in a sentence why TensorFlow, which sees no GPU, cannot use the one of this machine; "" without one.

    Args:
        build: `tf.sysconfig.get_build_info()`.
    """
    text = ask_driver(*QUERY)[1]
    # A virtual bus may not show what the driver knows; Windows' Linux has a device of its own.
    there = has_nvidia() or driver_gpus() or Path("/dev/dxg").exists()
    if not there or os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1"):  # the latter hides it on purpose
        return ""
    wheel = f"pip install 'tensorflow[and-cuda]=={version('tensorflow')}'"
    needed, found = str(build.get("cuda_version", "0")), driver_cuda()
    reason = f"neither driver nor libraries tell why; {DETAILS}"
    if not text:
        reason = "there is no driver. Install it; in a container give --gpus all"
    elif not driver_gpus():
        reason = f"the driver does not work (nvidia-smi: {text.splitlines()[0].rstrip('.')})"
    elif not build.get("is_cuda_build"):
        reason = f"this TensorFlow was built without CUDA. On Linux: {wheel}"
    elif missing := missing_libraries(build):
        reason = f"{', '.join(missing)} cannot be found. Install: {wheel}"
    elif found and int(found.partition(".")[0]) < int(needed.partition(".")[0]):
        reason = f"the driver is for CUDA {found}, and {needed} is needed. Update it"
    return f"TensorFlow cannot use the NVIDIA GPU: {reason}."


@functools.cache  # once in a process
def say_why_no_gpu() -> None:
    """Log in a line why TensorFlow, which is loaded and sees no GPU, cannot use the one of this machine, if any."""
    import tensorflow as tf

    if reason := why_no_gpu(tf.sysconfig.get_build_info()):
        log.warning("Note: %s", reason)


def missing_libraries(build: Mapping[str, Any]) -> list[str]:
    """Return the libraries of CUDA that neither the system nor a Python package has."""
    cuda = str(build.get("cuda_version", "12")).partition(".")[0]
    wanted = [f"libcudart.so.{cuda}", f"libcublas.so.{cuda}", f"libcudnn.so.{build.get('cudnn_version', '9')}"]
    return [name for name in wanted if not has_library(name)]


def has_library(name: str) -> bool:
    """Return whether a shared library can be loaded, or comes with a package of NVIDIA's."""
    package = find_spec("nvidia")
    folders = [Path(folder) for folder in (package.submodule_search_locations or [])] if package else []
    if any(found for folder in folders for found in folder.glob(f"*/lib/{name}*")):
        return True
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def driver_cuda() -> str:
    """Return the newest version of CUDA that the driver can run; "" where it does not say."""
    match = re.search(r"CUDA Version: ([\d.]+)", ask_driver()[1])
    return match[1] if match else ""
