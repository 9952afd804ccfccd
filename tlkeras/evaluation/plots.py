"""The plot of a training run."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

TITLES = {"loss": "loss", "accuracy": "accuracy", "mae": "mean absolute error"}


def plot_history(history: list[dict], kept_epoch: int, path: Path | None = None) -> Figure:
    """Plot loss and accuracy (or mean absolute error) of training and validation over the epochs of both phases.

    Args:
        history: rows of `tlkeras.training.two_phase.TrainingResult.history`.
        kept_epoch: epoch whose weights were kept, marked in the plot.
        path: where the PNG is saved; nowhere when None.

    Returns:
        The figure, which a notebook shows.

    Example:
        >>> tlkeras.plot_history(result.history, result.epoch)
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, name in zip(figure.subplots(1, 2), plotted_metrics(history), strict=True):
        draw_history(axes, history, name, kept_epoch)
    if path:
        figure.savefig(path, dpi=120)
    return figure


def plotted_metrics(history: list[dict]) -> list[str]:
    """Return the names of the two metrics of the epochs that are plotted."""
    return ["loss", "accuracy" if "accuracy" in history[0] else "mae"]


def draw_history(axes: Any, history: list[dict], name: str, kept_epoch: int) -> None:
    """Draw one metric of training and validation over the epochs."""
    epochs = [row["epoch"] for row in history]
    frozen = sum(row["phase"] == "frozen" for row in history)
    axes.plot(epochs, [row[name] for row in history], marker=".", label="training")
    axes.plot(epochs, [row[f"val_{name}"] for row in history], marker=".", label="validation")
    axes.axvline(kept_epoch, color="gray", linewidth=0.8, linestyle=":", label=f"kept: epoch {kept_epoch}")
    if frozen < len(history):
        axes.axvspan(epochs[frozen] - 0.5, epochs[-1] + 0.5, color="C1", alpha=0.08, label="phase 2")
    axes.set(title=TITLES[name], xlabel="epoch", ylabel=TITLES[name])
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False, fontsize="small")
