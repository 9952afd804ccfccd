"""Run an artifact in a process of its own, where nothing of its making is in memory; see `measure`."""

import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.errors import UserError
from tlkeras.export.artifact import Session, load_artifact, open_session

BATCH_SIZES = (1, 32)
SECONDS, CALLS = 1.5, 30  # of each measurement of time: at most so many of either, after two calls that warm up


@dataclass(frozen=True)
class Measured:
    """What an artifact gave."""

    outputs: np.ndarray  # float32 (N, K), for decoded examples
    raw: list[np.ndarray]  # float32 (K,) each, for images of their own size
    milliseconds: dict[str, float]  # median of a call, by batch size


def measure(folder: Path, inputs: np.ndarray, raw: list[np.ndarray], files: list[bytes]) -> Measured:
    """Return outputs for decoded examples `(N, …)` and for images of any size, and latencies, in a new process.

    What takes files gets the `files` in place of the pixels in them.
    """
    with tempfile.TemporaryDirectory() as temporary:
        given, found = Path(temporary, "inputs.npz"), Path(temporary, "outputs.npz")
        arrays: dict[str, Any] = {"inputs": inputs} | {f"raw_{number}": image for number, image in enumerate(raw)}
        arrays |= {f"file_{number}": np.frombuffer(file, np.uint8) for number, file in enumerate(files)}
        np.savez(given, **arrays)
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(folder), str(given), str(found)], capture_output=True, text=True
        )
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"it ended with code {done.returncode}"])[-1]
            raise UserError(f"The exported model does not run: {reason}")
        with np.load(found) as content:
            times = dict(zip(map(str, BATCH_SIZES), content["milliseconds"].tolist(), strict=True))
            return Measured(content["outputs"], [content[f"raw_{number}"] for number in range(len(raw))], times)


def run_all(folder: Path, given: Path, found: Path) -> None:
    """Do the work of `measure`, from one file to another."""
    session = open_session(folder)
    with np.load(given, allow_pickle=True) as content:
        inputs = content["inputs"]
        images = {name: content[name] for name in content if name.startswith("raw_")}
        files = {name: content[name.replace("raw", "file")].tobytes() for name in images}
    if images and load_artifact(folder).format == "saved-model":  # which takes them as files, too
        raw = predict_files(folder, files)
    else:
        raw = {name: session(image[None])[0][0] for name, image in images.items()}
    starts = range(0, len(inputs), BATCH_SIZES[-1])
    outputs = np.concatenate([session(inputs[start : start + BATCH_SIZES[-1]])[0] for start in starts])
    times = [median_milliseconds(session, np.resize(inputs, (size, *inputs.shape[1:]))) for size in BATCH_SIZES]
    np.savez(found, outputs=outputs, milliseconds=np.array(times), **raw)


def predict_files(folder: Path, files: dict[str, bytes]) -> dict[str, np.ndarray]:
    """Return what a SavedModel gives for files."""
    import tensorflow as tf

    from tlkeras.export.saved_model import VERSION

    loaded = tf.saved_model.load(str(folder / VERSION))
    found = {}
    for name, file in files.items():
        outputs = loaded.signatures["encoded"](image_bytes=tf.constant([file]))
        found[name] = next(outputs[key].numpy()[0] for key in ("probabilities", "values") if key in outputs)
    return found


def median_milliseconds(session: Session, inputs: np.ndarray) -> float:
    """Return the median time of a call."""
    session(inputs)
    seconds: list[float] = []
    while len(seconds) < 2 or (sum(seconds) < SECONDS and len(seconds) < CALLS):
        start = time.perf_counter()
        session(inputs)
        seconds.append(time.perf_counter() - start)
    return round(1000 * statistics.median(seconds), 2)


if __name__ == "__main__":
    run_all(*map(Path, sys.argv[1:]))
