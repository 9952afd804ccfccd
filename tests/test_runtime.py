"""TensorFlow logs nothing that a user could not use, and nothing that is useful is held back."""

import os
import subprocess
import sys

import pytest


def standard_error(program: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stderr


def test_what_onednn_leaves_alone_is_not_logged():
    loaded = "from tlkeras.runtime import load_tensorflow; load_tensorflow()"
    assert standard_error(f"{loaded}; import tensorflow as tf; tf.transpose(tf.zeros((2, 3), tf.bool))") == ""


@pytest.mark.parametrize(
    "first",
    [
        "import tlkeras; tlkeras.build_classifier",
        "import sys; sys.modules['ipykernel'] = sys; import tlkeras",  # as in a notebook
    ],
)
def test_no_call_is_needed_for_that(first):
    assert standard_error(f"{first}; import keras; keras.ops.transpose(keras.ops.zeros((2, 3), 'int64'))") == ""


@pytest.mark.parametrize(
    ("line", "held_back"),
    [
        ("E0000 util.cc:131] oneDNN supports DT_BOOL only on platforms with AVX-512. Falling back", True),
        ("E0000 cuda_platform.cc:52] failed call to cuInit: INTERNAL", True),
        ("E0000 save_restore.cc:1] No space left on device", False),
    ],
)
def test_only_startup_logs_are_held_back(line, held_back):
    program = f"""import os
from tlkeras.runtime import quiet_stderr
with quiet_stderr():
    os.write(2, b{line + chr(10)!r})"""
    assert standard_error(program) == ("" if held_back else line + "\n")


def test_memory_growth_is_on_for_every_gpu(monkeypatch):
    """Also where one of them is in use already."""
    import tensorflow as tf

    from tlkeras.runtime import load_tensorflow

    grown = []

    def grow(gpu: str, enable: bool) -> None:
        if gpu == "used":
            raise RuntimeError("Physical devices cannot be modified after being initialized")
        grown.append((gpu, enable))

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["used", "GPU:1", "GPU:2"])
    monkeypatch.setattr(tf.config.experimental, "set_memory_growth", grow)
    load_tensorflow()
    assert grown == [("GPU:1", True), ("GPU:2", True)]
