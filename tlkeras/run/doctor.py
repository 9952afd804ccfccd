"""What this machine has for training, and whether that would work: versions, processor, GPUs, memory, disk, caches."""

import json
import os
import platform
import re
import shutil
import subprocess
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tlkeras.data.loading import MEMORY_FRACTION, available_cores, memory_budget
from tlkeras.errors import UserError
from tlkeras.gpu_driver import QUERY, ask_driver, driver_cuda, driver_gpus
from tlkeras.io import cache_dir
from tlkeras.run.devices import ROOT, cause, check_devices, run_apart
from tlkeras.run.folder import RUNS

PROGRAM = """import json
from tlkeras.run.doctor import tensorflow_facts
print(json.dumps(tensorflow_facts()))"""
SECONDS = 180  # that TensorFlow may take to answer
MIN_MEMORY = MIN_DISK = 1e9  # bytes; TensorFlow alone takes about a gigabyte
SIZES = {"CPU": 2048, "GPU": 8192}  # of the matrices that are multiplied
# What makes products fast: as Linux calls it, as people do.
INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_tile": "AMX",
                "amx_bf16": "AMX BF16", "asimd": "NEON", "bf16": "BF16"}  # fmt: skip


def examine() -> dict[str, Any]:
    """Return the facts by topic, as JSON can hold them; `problems` are why training would not work."""
    tensorflow, keras_home = ask_tensorflow(), Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    facts: dict[str, Any] = {
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "packages": packages(),
        "tensorflow": tensorflow,
        "processor": processor(),
        "memory": memory(),
        "disk": {str(folder): free_space(folder) for folder in (cache_dir(), RUNS)},
        "driver": {"gpus": driver_gpus(), "cuda": driver_cuda(), "said": ask_driver(*QUERY)[1]},
        "extras": extras(),
        "caches": {str(folder): size_of(folder) for folder in (cache_dir(), keras_home)},
    }
    if len(tensorflow.get("gpus", ())) > 1:
        try:
            facts["several_gpus"] = f"{check_devices('auto')} train together"
        except UserError as error:
            facts |= {"several_gpus": str(error), "devices_fail": True}
    return facts | {"problems": problems(facts)}


def problems(facts: dict[str, Any]) -> list[str]:
    """Return why training would not work, each reason with what to do."""
    found = [f"{name} is not installed: pip install -r requirements.txt" for name in facts["packages"]["missing"]]
    found += [facts["tensorflow"]["error"]] if "error" in facts["tensorflow"] else []
    for device in facts["tensorflow"].get("devices", ()):
        if "error" in device:
            found.append(f"a matrix product failed on {device['name']}: {device['error']}; CUDA_VISIBLE_DEVICES= goes "
                         "without GPUs")  # fmt: skip
    if facts["memory"]["available"] < MIN_MEMORY:
        found.append(f"{facts['memory']['available'] / 1e9:.1f} GB of memory are available, and 1 GB is needed")
    for folder, free in facts["disk"].items():
        if free < MIN_DISK:
            found.append(f"{free / 1e9:.1f} GB are free for {folder}, and 1 GB is needed")
    return found


def ask_tensorflow() -> dict[str, Any]:
    """Return `tensorflow_facts` of another process, which may crash or hang; an "error" where it did."""
    try:
        done = run_apart(PROGRAM, SECONDS)
    except subprocess.TimeoutExpired:
        return {"error": f"TensorFlow did not answer in {SECONDS} seconds; CUDA_VISIBLE_DEVICES= goes without GPUs"}
    if done.returncode < 0:
        return {"error": f"TensorFlow was ended by signal {-done.returncode}; 4 means that the processor lacks AVX"}
    if done.returncode:
        return {"error": f"TensorFlow cannot be used: {cause(done.stderr)}"}
    return json.loads(done.stdout.splitlines()[-1])


def tensorflow_facts() -> dict[str, Any]:
    """Return versions, what TensorFlow was built with, the GPUs it sees or why none, and how fast devices are."""
    from tlkeras.runtime import load_tensorflow

    load_tensorflow()
    import keras
    import tensorflow as tf

    from tlkeras.gpu_driver import why_no_gpu

    build, gpus = tf.sysconfig.get_build_info(), tf.config.list_physical_devices("GPU")
    names = [str(tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)) for gpu in gpus]
    built = {"cuda": build.get("cuda_version"), "cudnn": build.get("cudnn_version")}
    devices = [measure(device.name, SIZES["GPU" if "GPU" in device.name else "CPU"])
               for device in tf.config.list_logical_devices()]  # fmt: skip
    return {"version": tf.__version__, "keras": keras.__version__, "built_with": built, "gpus": names,
            "why_no_gpu": "" if gpus else why_no_gpu(build), "devices": devices}  # fmt: skip


def measure(name: str, size: int) -> dict[str, Any]:
    """Return how many billion operations per second a device does in a float32 matrix product, or its error."""
    import tensorflow as tf

    short, seconds = name.rpartition("device:")[2], []
    try:
        with tf.device(name):
            ones = tf.ones((size, size))
            for _ in range(4):  # the first one loads what is needed
                start = time.perf_counter()
                if float(tf.matmul(ones, ones)[-1, -1]) != size:
                    raise ArithmeticError("the product is wrong")
                seconds.append(time.perf_counter() - start)
    except Exception as error:  # of many kinds
        return {"name": short, "error": cause(f"Error: {error}")}
    return {"name": short, "gflops": round(2 * size**3 / min(seconds[1:]) / 1e9)}


def packages() -> dict[str, Any]:
    """Return which pinned packages are missing, and which have other versions: installed and pinned."""
    pins = re.findall(r"^([\w-]+)==([\w.]+)", read(ROOT / "requirements.txt"), re.MULTILINE)
    installed = {name: installed_version(name) for name, _ in pins}
    others = {name: [installed[name], pin] for name, pin in pins if installed[name] not in ("", pin)}
    needed = {re.split(r"[^\w-]", text)[0] for text in project().get("dependencies", ())}
    return {"missing": [name for name in sorted(needed) if not installed_version(name)], "others": others}


def extras() -> dict[str, bool]:
    """Return the optional extras of the project, and whether all of their packages are installed."""
    groups = project().get("optional-dependencies", {})
    names = {extra: [re.split(r"[^\w-]", text)[0] for text in group] for extra, group in groups.items()}
    return {extra: all(map(installed_version, group)) for extra, group in names.items() if extra != "dev"}


def project() -> dict[str, Any]:
    """Return the project's table of pyproject.toml; an empty one where the package was installed without it."""
    return tomllib.loads(read(ROOT / "pyproject.toml")).get("project", {})


def read(path: Path) -> str:
    """Return the text of a file; "" where there is none."""
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def installed_version(name: str) -> str:
    """Return the version of a package; "" where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def processor() -> dict[str, Any]:
    """Return model, cores that this process may use, and instruction sets that matter here."""
    text = read(Path("/proc/cpuinfo"))
    model = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", text, re.MULTILINE)
    words = set(flags[1].split()) if flags else set()
    sets = [name for flag, name in INSTRUCTIONS.items() if flag in words]
    return {"model": model[1] if model else platform.machine(), "cores": available_cores(), "instructions": sets}


def memory() -> dict[str, float]:
    """Return bytes of memory: all, and what is available."""
    total = memory_budget() / MEMORY_FRACTION
    match = re.search(r"^MemAvailable:\s*(\d+)", read(Path("/proc/meminfo")), re.MULTILINE)
    return {"total": total, "available": min(int(match[1]) * 1024, total) if match else total}


def free_space(folder: Path) -> int:
    """Return the free bytes of the disk that a folder is on, or will be."""
    return shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder; 0 where there is none."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
