"""Several devices train one model as one device does: `several_devices.py`, in a process that has three."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlkeras.errors import UserError
from tlkeras.training.distribute import make_strategy, on_devices

DEVICES = {"TLKERAS_CPU_DEVICES": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


@pytest.mark.parametrize("mark", ["not slow", pytest.param("slow", marks=pytest.mark.slow)])
def test_on_several_devices(mark):
    folder = Path(__file__).parent
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-m", mark, "several_devices.py"]
    done = subprocess.run(command, cwd=folder, env=os.environ | DEVICES, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]


def test_one_device_needs_no_strategy():
    assert [on_devices(count, len) for count in (1, "auto")] == [len, len]


def test_more_devices_than_there_are():
    message = r"--devices was 8, and TensorFlow has no GPUs here\. .* set TLKERAS_CPU_DEVICES=8"
    with pytest.raises(UserError, match=message):
        make_strategy(8)
