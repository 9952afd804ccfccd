"""scripts/doctor.py says what a machine has, and by its exit code whether training would work; facts are made up."""

import json

import pytest

from tlkeras.errors import UserError
from tlkeras.run import doctor

CPU = {"name": "CPU:0", "gflops": 105}
FOUND = {
    "version": "2.21.0", "keras": "3.15.1", "built_with": {"cuda": "12.5.1", "cudnn": "9"}, "gpus": [],
    "why_no_gpu": "", "devices": [CPU],
}  # fmt: skip


@pytest.fixture
def machine(monkeypatch):
    """Return `machine(…)`, which makes up what the parts of `examine` find."""

    def make(tensorflow=None, driver=(), missing=(), others=None, free=5e11, available=2e10, together=4):
        def check(given) -> int:
            if isinstance(together, int):
                return together
            raise UserError(together)

        made = {
            "ask_tensorflow": lambda: FOUND | (tensorflow or {}),
            "driver_gpus": lambda: list(driver),
            "driver_cuda": lambda: "12.8" if driver else "",
            "ask_driver": lambda *words: (0, ""),
            "packages": lambda: {"missing": list(missing), "others": others or {}},
            "extras": lambda: {"serve": True, "openvino": False},
            "processor": lambda: {"model": "AMD EPYC", "cores": 2, "instructions": ["AVX2", "AVX-512"]},
            "memory": lambda: {"total": 2.5e10, "available": available},
            "free_space": lambda folder: free,
            "size_of": lambda folder: 1.6e9,
            "check_devices": check,
        }
        for name, function in made.items():
            monkeypatch.setattr(doctor, name, function)

    return make


def test_a_machine_without_a_gpu(call, machine):
    machine()
    answer = call("doctor.py")
    assert (answer.code, answer.err) == (0, "")
    for line in (
        "TensorFlow   2.21.0, built with cuda 12.5.1, cudnn 9", "Packages     all as tested",
        "Processor    AMD EPYC, 2 cores, AVX2, AVX-512", "Memory       25.0 GB, 20.0 GB available",
        "Disk         500.0 GB free for saved_models", "Driver       no NVIDIA driver", "GPU          none",
        "CPU:0        105 billion operations per second in matrix products",
        "Extras       serve; not installed: openvino",
    ):  # fmt: skip
        assert line in answer.out.splitlines()
    assert answer.out.endswith("\nTraining would work.\n")


@pytest.mark.parametrize("together", [2, "The devices were tested, and training failed: NCCL. --devices 1 trains."])
def test_several_gpus(call, machine, together):
    """Where they do not work together, one of them still does."""
    names, speed = ["NVIDIA H200"] * 2, {"name": "GPU:0", "gflops": 40000}
    machine({"gpus": names, "devices": [CPU, speed]}, ["NVIDIA H200, 143771 MiB"] * 2, together=together)
    answer = call("doctor.py")
    assert answer.code == 0 and answer.out.count("NVIDIA H200, 143771 MiB (for CUDA 12.8)") == 2
    assert "GPU:0        40,000 billion operations" in answer.out
    said = f"{together} train together" if together == 2 else together
    assert f"Several GPUs {said}" in " ".join(answer.out.split())
    assert answer.out.endswith("\nTraining would work.\n" if together == 2 else "would work with --devices 1.\n")
    assert all(len(line) < 80 for line in answer.out.splitlines())


def test_a_gpu_that_tensorflow_cannot_use(call, machine):
    """The processor trains."""
    machine({"why_no_gpu": "TensorFlow cannot use the NVIDIA GPU: the driver does not work (nvidia-smi: it failed)."})
    answer = call("doctor.py")
    assert answer.code == 0 and "GPU          TensorFlow cannot use the NVIDIA GPU: the driver" in answer.out


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"missing": ["h5py"]}, "h5py is not installed: pip install -r requirements.txt."),
        ({"tensorflow": {"devices": [{"name": "GPU:0", "error": "out of memory"}]}},
         "a matrix product failed on GPU:0: out of memory; CUDA_VISIBLE_DEVICES= goes without GPUs."),
        ({"free": 2e8}, "0.2 GB are free for saved_models, and 1 GB is needed."),
        ({"available": 5e8}, "0.5 GB of memory are available, and 1 GB is needed."),
    ],
)  # fmt: skip
def test_why_training_would_not_work(call, machine, facts, reason):
    machine(**facts)
    answer = call("doctor.py")
    assert answer.code == 1 and "Training would work" not in answer.out
    assert f"Training would not work: {reason}" in " ".join(answer.out.split())
    assert all(len(line) < 80 for line in answer.out.splitlines())


def test_other_versions_are_told_apart(call, machine):
    machine(others={"keras": ["3.16.0", "3.15.1"]})
    answer = call("doctor.py")
    assert answer.code == 0 and "not the tested versions: keras 3.16.0 (3.15.1)" in answer.out


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("raise ImportError('libcuda is broken')", "TensorFlow cannot be used: libcuda is broken"),
        ("import os; os.kill(os.getpid(), 4)", "TensorFlow was ended by signal 4; 4 means that the processor lacks"),
        ("import time; time.sleep(60)", "TensorFlow did not answer in 1 seconds"),
    ],
)
def test_a_tensorflow_that_fails(call, machine, monkeypatch, program, error):
    """By itself it would take the program with it."""
    ask = doctor.ask_tensorflow
    monkeypatch.setattr(doctor, "PROGRAM", program)
    monkeypatch.setattr(doctor, "SECONDS", 1)
    machine()
    monkeypatch.setattr(doctor, "ask_tensorflow", ask)
    answer = call("doctor.py")
    assert answer.code == 1 and f"Training would not work: {error}" in " ".join(answer.out.split())


def test_this_machine(call):
    facts = json.loads(call("doctor.py", "--json").out)
    assert facts["packages"]["missing"] == [] and "error" not in facts["tensorflow"]
    assert facts["tensorflow"]["devices"][0]["gflops"] > 0
    assert facts["processor"]["cores"] > 0 and facts["memory"]["total"] >= facts["memory"]["available"] > 0
    assert "dev" not in facts["extras"]
