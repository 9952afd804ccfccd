"""What a notebook shows of a training."""

import keras

from tlkeras.notebook import NotebookBar
from tlkeras.training.callbacks import Logs


class NotebookProgress(keras.callbacks.Callback):
    """Show a bar and a table of the epochs in place of Keras' lines; it must come after `Throughput`."""

    def __init__(self, title: str, first_epoch: int, last_epoch: int) -> None:
        super().__init__()
        self._title, self._epochs = title, last_epoch - first_epoch

    def on_train_begin(self, logs: Logs = None) -> None:
        self._bar = NotebookBar(total=self._epochs * self.params["steps"], desc=self._title, unit=" steps")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._bar.update()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if logs:
            speed, unit = next((value, name) for name, value in logs.items() if name.endswith("/s"))
            kept = {name: float(value) for name, value in logs.items() if name not in ("s left", unit)}
            self._bar.add_row({"epoch": epoch + 1} | kept | {"speed": f"{speed:,} {unit}"})

    def on_train_end(self, logs: Logs = None) -> None:
        self._bar.close()
