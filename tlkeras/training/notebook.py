"""What a notebook shows of a training."""

from tlkeras.notebook import NotebookBar
from tlkeras.training.callbacks import EpochProgress, Logs


class NotebookProgress(EpochProgress):
    """Show a bar and a table of the epochs in place of the lines."""

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        super().on_epoch_begin(epoch, logs)
        if not hasattr(self, "_bar"):
            steps = self.params["steps"] * (self._last_epoch - epoch)
            self._bar = NotebookBar(total=steps, desc=self._title, unit=" steps")

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        super().on_train_batch_end(batch, logs)
        self._bar.update()

    def on_train_end(self, logs: Logs = None) -> None:
        super().on_train_end(logs)
        if hasattr(self, "_bar"):
            self._bar.close()

    def _end_line(self) -> None:
        values = {name: float(value) for name, value in self._unshown.items()}
        self._bar.add_row({"epoch": self._epoch + 1} | values | {"speed": f"{self._speed:,.0f} {self._unit}"})
        self._unshown = {}
