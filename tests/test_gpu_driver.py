"""What is said of a GPU that TensorFlow cannot use; the facts are made up, as the tests run on any machine."""

import pytest

from tlkeras import gpu_driver
from tlkeras.gpu_driver import QUERY, driver_gpus, has_nvidia, why_no_gpu

BUILD = {"is_cuda_build": True, "cuda_version": "12.5.1", "cudnn_version": "9"}
GPU = "NVIDIA H200, 143771 MiB, 4 MiB, 570.1"


@pytest.fixture
def machine(monkeypatch):
    """Return `machine(…)`, which makes up what nvidia-smi, the PCI bus and the libraries say."""

    def make(code=0, text=GPU, on_bus=True, header="CUDA Version: 12.8", libraries=True):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        monkeypatch.setattr(gpu_driver, "ask_driver", lambda *words: (code, text if words == tuple(QUERY) else header))
        monkeypatch.setattr(gpu_driver, "has_nvidia", lambda: on_bus)
        monkeypatch.setattr(gpu_driver, "has_library", lambda name: libraries or "cudart" in name)

    return make


@pytest.mark.parametrize(
    ("facts", "build", "said"),
    [
        ({"code": -1, "text": ""}, {}, "there is no driver. Install it; in a container give --gpus all."),
        ({"code": -1, "text": "nvidia-smi did not answer"}, {}, "does not work (nvidia-smi: nvidia-smi did not ans"),
        ({"code": 9, "text": "NVIDIA-SMI has failed because it could not communicate with the driver.\nMore"}, {},
         "the driver does not work (nvidia-smi: NVIDIA-SMI has failed because it could not communicate with the dri"),
        ({}, {"is_cuda_build": False}, "built without CUDA. On Linux: pip install 'tensorflow[and-cuda]==2."),
        ({"libraries": False}, {}, "libcublas.so.12, libcudnn.so.9 cannot be found. Install: pip install 'tensorflow["),
        ({"header": "CUDA Version: 11.4"}, {}, "the driver is for CUDA 11.4, and 12.5.1 is needed. Update it."),
        ({}, {}, "neither driver nor libraries tell why; scripts/doctor.py tells more."),
    ],
)  # fmt: skip
def test_why_a_gpu_is_not_used(machine, facts, build, said):
    machine(**facts)
    sentence = why_no_gpu(BUILD | build)
    assert sentence.startswith("TensorFlow cannot use the NVIDIA GPU: ") and said in sentence
    assert "\n" not in sentence


def test_a_machine_without_a_gpu_says_nothing(machine, monkeypatch):
    for facts in (
        {"code": -1, "text": ""},
        {"code": 9, "text": "NVIDIA-SMI has failed."},
        {"text": "No devices were found"},
    ):
        machine(on_bus=False, **facts)
        assert why_no_gpu(BUILD) == ""
    machine(on_bus=False)  # a virtual one may not show it
    assert why_no_gpu(BUILD)
    machine()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")  # hidden on purpose
    assert why_no_gpu(BUILD) == ""


def test_the_gpus_of_the_driver(machine):
    machine(text=f"{GPU}\n{GPU}")
    assert driver_gpus() == [GPU, GPU]
    machine(text="No devices were found")
    assert driver_gpus() == []


def test_an_nvidia_gpu_on_the_bus(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu_driver, "PCI", tmp_path)
    for name, vendor, kind in (("0", "0x8086", "0x030000"), ("1", "0x10de", "0x040300")):  # its sound card
        (tmp_path / name).mkdir()
        (tmp_path / name / "vendor").write_text(vendor)
        (tmp_path / name / "class").write_text(kind)
    (tmp_path / "2").mkdir()  # which says nothing
    assert not has_nvidia()
    (tmp_path / "1" / "class").write_text("0x030200\n")
    assert has_nvidia()
