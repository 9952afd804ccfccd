"""The plot of a choice."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

SHOWN = {
    "milliseconds": "latency of one example in ms",
    "parameters": "parameters of the backbone in millions",
    "seconds": "seconds that the measurement took",
}


def plot_choice(candidates: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot accuracies with their intervals against what each candidate costs; diamonds are after both phases."""
    figure = Figure(figsize=(13, 4), layout="constrained")
    names = [row["name"] for row in candidates]
    facts = {row["name"]: row for row in candidates}
    for axes, (name, title) in zip(figure.subplots(1, len(SHOWN), sharey=True), SHOWN.items(), strict=True):
        for row, marker in [*((row, "o") for row in candidates), *((row, "D") for row in trained)]:
            cost = facts[row["name"]][name] / (1e6 if name == "parameters" else 1)
            color, (low, high) = f"C{names.index(row['name'])}", row["interval_95"]
            axes.plot([cost] * 2, [low, high], color=color, linewidth=1)
            label = f"{row['name']} ({row['images']:,} images)" if marker == "o" else None
            axes.plot(cost, row["accuracy"], marker, color=color, label=label)
        axes.set(xlabel=title)
        axes.margins(x=0.15)
        axes.set_xlim(left=0)
    figure.axes[0].set_ylabel("accuracy and 95% interval")
    title = "circles: features; diamonds: after both phases" if trained else None
    axes.legend(frameon=False, fontsize="small", title=title, title_fontsize="small")
    figure.savefig(path, dpi=120)
