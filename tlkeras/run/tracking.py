"""Send a training to TensorBoard or MLflow: options, metrics of each epoch, curves, and final metrics."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol
from urllib.error import HTTPError

import keras

from tlkeras.errors import UserError, first_sentence
from tlkeras.io.network import check_reachable

log = logging.getLogger("tlkeras")
FILES = ("curves.png", "metrics.json", "report.html")
MLFLOW_RUN = "mlflow_run.txt"  # the id of the tracked run, by which a resumed training continues it


class Tracker(Protocol):
    """Where values go."""

    def values(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers by name."""

    def finish(self, folder: Path) -> None:
        """Send the files of a finished run's folder and close."""


class TensorBoard:
    """Event files in the run's folder; a resumed training adds one."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        import tensorflow as tf

        self._summary = tf.summary
        self._writer = tf.summary.create_file_writer(str(folder / "tensorboard"))
        rows = [f"| {name} | {value} |" for name, value in options.items()]
        with self._writer.as_default(step=0):
            tf.summary.text("options", "\n".join(["| option | value |", "|---|---|", *rows]))

    def values(self, values: Mapping[str, float], step: int) -> None:
        """Write them, so that the page shows them at once."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                self._summary.scalar(name, value)
        self._writer.flush()

    def finish(self, folder: Path) -> None:
        """Write the curves as an image, and the metrics as text."""
        import numpy as np
        from PIL import Image

        with self._writer.as_default(step=0):
            self._summary.image("curves", np.asarray(Image.open(folder / "curves.png").convert("RGB"))[None])
            self._summary.text("metrics", "    " + (folder / "metrics.json").read_text("utf-8").replace("\n", "\n    "))
            if (folder / "report.html").exists():
                self._summary.text("report", "`report.html` is in the run's folder.")
        self._writer.close()


class MLflow:
    """A run in the experiment "tlkeras" of MLFLOW_TRACKING_URI, else of ./mlruns."""

    def __init__(self, folder: Path, options: Mapping[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # or ./mlruns is refused
        from mlflow import MlflowClient

        try:
            address = os.environ.get("MLFLOW_TRACKING_URI", "./mlruns")
            check_answer(address)
            self._client = MlflowClient(address)
            if (folder / MLFLOW_RUN).exists():
                self._run = (folder / MLFLOW_RUN).read_text("utf-8")
                self._client.set_terminated(self._run, "RUNNING")
                return
            found = self._client.get_experiment_by_name("tlkeras")
            experiment = found.experiment_id if found else self._client.create_experiment("tlkeras")
            self._run = self._client.create_run(experiment, run_name=Path(options["run_dir"]).name).info.run_id
            for name, value in options.items():
                self._client.log_param(self._run, name, value)
        except Exception as error:  # of a server that does not answer, or of a run that was deleted there
            raise UserError(f"--track mlflow failed: {first_sentence(error)}. Check MLFLOW_TRACKING_URI.") from None
        (folder / MLFLOW_RUN).write_text(self._run, encoding="utf-8")

    def values(self, values: Mapping[str, float], step: int) -> None:
        """Log them as metrics."""
        for name, value in values.items():
            self._client.log_metric(self._run, name, value, step=step)

    def finish(self, folder: Path) -> None:
        """Log the files as artifacts."""
        for name in FILES:
            if (folder / name).exists():
                self._client.log_artifact(self._run, str(folder / name))
        self._client.set_terminated(self._run)


def check_answer(address: str) -> None:
    """Fail where no server answers at an address of the web, for which MLflow's client would wait for minutes."""
    if address.startswith(("http://", "https://")):
        with contextlib.suppress(HTTPError):  # an answer
            check_reachable(address, method="GET")


class Guarded:
    """A tracker whose failure, such as that of a server, is said once and does not stop the training."""

    def __init__(self, tracker: Tracker) -> None:
        self._target: Tracker | None = tracker

    def values(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers by name."""
        self._try("values", values, step)

    def finish(self, folder: Path) -> None:
        """Send the files of a finished run's folder and close."""
        self._try("finish", folder)

    def _try(self, method: str, *arguments: Any) -> None:
        try:
            if self._target:
                getattr(self._target, method)(*arguments)
        except Exception as error:  # of whatever sends it; the training matters more
            self._target = None
            log.warning("Note: tracking failed and is switched off: %s.", first_sentence(error))


class EpochTracker(keras.callbacks.Callback):
    """Send the metrics of each epoch of both phases."""

    def __init__(self, tracker: Tracker) -> None:
        super().__init__()
        self._target = tracker

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._target.values({name: float(value) for name, value in (logs or {}).items()}, epoch + 1)


def start_tracking(config: Any, folder: Path) -> Tracker | None:
    """Return the tracker that the options ask for; None for none."""
    if config.track == "none":
        return None
    return Guarded((TensorBoard if config.track == "tensorboard" else MLflow)(folder, dataclasses.asdict(config)))


def finish_tracking(tracker: Tracker, folder: Path, history: Sequence[dict], metrics: Mapping[str, Any]) -> None:
    """Send what is known at the end: learning rates, the metrics of each split, and the files of the run."""
    for row in history:
        tracker.values({"learning_rate": row["learning_rate"]}, row["epoch"])
    last = history[-1]["epoch"]
    for split, values in metrics.items():
        numbers = {f"{split}/{name}": value for name, value in values.items() if isinstance(value, int | float)}
        tracker.values(numbers, last)
    tracker.finish(folder)
