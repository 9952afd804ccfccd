"""Load TensorFlow without its startup logs, and make its arithmetic deterministic."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

from tlkeras.progress import passing, stage

# What TensorFlow 2.21 and LiteRT log on any machine: no GPU driver, oneDNN, fast kernels; nothing else is held back.
STARTUP_LOGS = re.compile(
    r"All log messages before absl::InitializeLog|oneDNN custom operations are on|TF_ENABLE_ONEDNN_OPTS|"
    r"Could not find cuda drivers|failed call to cuInit|cpu_feature_guard|rebuild TensorFlow with the appropriate|"
    r"oneDNN supports DT_|Created TensorFlow Lite XNNPACK delegate|fully_quantize: "
)


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Hold back what the process writes to standard error, C++ included, and pass on all but the startup logs."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(kept, 2)
            os.close(kept)
            written.seek(0)
            for line in written.read().decode(errors="replace").splitlines():
                if not STARTUP_LOGS.search(line):
                    print(line, file=sys.stderr)


def is_logged(record: logging.LogRecord) -> bool:
    """Return whether a record of TensorFlow's logger is shown: not that a program with several models builds graphs."""
    return "triggered tf.function retracing" not in record.getMessage()


def load_tensorflow(seed: int | None = None) -> None:
    """Import TensorFlow and Keras quietly.

    Args:
        seed: when given, seeds Python, NumPy and Keras and turns on deterministic kernels, so that the same seed on
            the same number of cores gives the same bits.

    Raises:
        UserError: TLKERAS_CPU_DEVICES is no number.

    Example:
        >>> load_tensorflow(seed=0)
        >>> import keras
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # [part: devices]
    from tlkeras.errors import UserError

    given = os.environ.get("TLKERAS_CPU_DEVICES", "0")  # for tests, and to try --devices without GPUs
    if not given.isdecimal():
        raise UserError(f"TLKERAS_CPU_DEVICES was {given}; it must be a number. Unset it to train as usual.")
    cpu_devices = int(given)
    if cpu_devices:  # where a last batch leaves a device without examples, oneDNN's convolutions fail
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    # [/part]
    with stage("tensorflow"), passing("Loading TensorFlow"), quiet_stderr():
        import keras
        import tensorflow as tf

        tf.get_logger().addFilter(is_logged)
        for gpu in tf.config.list_physical_devices("GPU"):
            with contextlib.suppress(RuntimeError):  # somebody has used it already
                tf.config.experimental.set_memory_growth(gpu, True)
        # [part: devices]
        if cpu_devices:
            cpu, several = tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()]
            tf.config.set_logical_device_configuration(cpu, several * cpu_devices)
        # [/part]
        if seed is not None:
            keras.utils.set_random_seed(seed)
            tf.config.experimental.enable_op_determinism()
        # oneDNN logs once in a process that it leaves other types than float alone.
        tf.transpose(tf.zeros((1, 1), tf.int64))
    # [part: devices]
    if not tf.config.list_physical_devices("GPU"):
        from tlkeras.gpu_driver import say_why_no_gpu

        say_why_no_gpu()
    # [/part]
