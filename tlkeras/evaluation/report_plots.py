"""The plots of a report, as SVG that takes its colors from the page, and images as JPEG in the page itself."""

import base64
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from tlkeras.config.fields import Task
from tlkeras.evaluation.calibration import reliability
from tlkeras.evaluation.plots import TITLES, draw_history, plotted_metrics
from tlkeras.evaluation.thresholds import coverage_curve

INK = "#010203"  # which becomes the color of the page's text
STYLE: Any = {
    "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 11, "axes.spines.top": False,
    "axes.spines.right": False, "axes.prop_cycle": "cycler('color', ['#3b82d0', '#d97b1e'])",
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}  # fmt: skip
MAX_POINTS = 2000  # of a curve or a scatter plot
THUMBNAIL = 160  # pixels


def svg(draw: Callable[[Axes], None], alt: str) -> Markup:
    """Return what a function draws as inline SVG as wide as its column, with words for those who do not see it."""
    with rc_context(STYLE | {"svg.hashsalt": alt}):
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        draw(figure.subplots())
        content = io.StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(content, format="svg", transparent=True, metadata=nothing)
    text = content.getvalue()
    view_box = re.search(r'viewBox="[^"]*"', text)[0]  # type: ignore[index]
    inner = text[text.index(">", text.index("<svg")) + 1 :].replace(INK, "currentColor")
    inner = re.sub(r' id="[\w.]+?_\d+"(?=>)', "", inner)  # which several plots would have in common
    inner = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", inner, flags=re.DOTALL)
    return Markup(f'<svg {view_box} role="img" aria-label="{escape(alt)}">{inner}')


def curves(history: list[dict[str, Any]], kept_epoch: int) -> list[Markup]:
    """Return the plots of loss and accuracy, or mean absolute error, over the epochs."""
    plots = []
    for name in plotted_metrics(history):
        last = history[-1]
        alt = (
            f"{TITLES[name].capitalize()} over {len(history)} epochs; at the end {last[name]:.3g} in training and "
            f"{last[f'val_{name}']:.3g} in validation."
        )
        plots.append(svg(lambda axes, name=name: draw_history(axes, history, name, kept_epoch), alt))  # type: ignore[misc]
    return plots


def reliability_plot(outputs: np.ndarray, targets: np.ndarray, task: Task) -> Markup:
    """Return the reliability diagram: how often predictions of a confidence are right (larger dots: more of them)."""
    bins = reliability(outputs, targets, task)
    confidence, accuracy, count = ([row[key] for row in bins] for key in ("confidence", "accuracy", "count"))

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color="gray", linewidth=0.8, linestyle=":", label="as often as they say")
        axes.plot(confidence, accuracy, color="C0")
        axes.scatter(confidence, accuracy, 20 + 180 * np.array(count) / max(count), color="C0", alpha=0.8)
        axes.set(title="reliability", xlabel="confidence", ylabel="fraction that is right",
                 xlim=(0, 1.03), ylim=(-0.03, 1.05))  # fmt: skip
        axes.legend(frameon=False, fontsize="small", loc="lower right")

    points = "; ".join(f"{row['confidence']:.2f}: {row['accuracy']:.2f} of {row['count']:,}" for row in bins)
    return svg(draw, f"Fraction that is right by mean confidence. {points}.")


def coverage_plot(outputs: np.ndarray, targets: np.ndarray, threshold: dict[str, Any] | None) -> Markup:
    """Return accuracy over the fraction of predictions that are accepted, the most confident first."""
    coverage, accuracy = coverage_curve(outputs, targets)
    shown = np.unique(np.linspace(0, len(coverage) - 1, min(len(coverage), MAX_POINTS)).astype(int))

    def draw(axes: Axes) -> None:
        axes.plot(coverage[shown], accuracy[shown], drawstyle="steps-post")
        if threshold and threshold["threshold"] > 0:
            accepted = float((outputs.max(axis=1) >= threshold["threshold"]).mean())
            label = f"confidence of {threshold['threshold']:.2f} or more"
            axes.axvline(accepted, color="gray", linewidth=0.8, linestyle=":", label=label)
            axes.legend(frameon=False, fontsize="small", loc="lower left")
        axes.set(title="accuracy against coverage", xlabel="fraction that is accepted", ylabel="accuracy",
                 xlim=(0, 1.03), ylim=(min(0.9, float(accuracy.min()) - 0.03), 1.005))  # fmt: skip

    half = accuracy[(len(accuracy) - 1) // 2]
    return svg(draw, f"Accuracy of the more confident half: {half:.3f}; of all: {accuracy[-1]:.3f}.")


def scatter_plot(outputs: np.ndarray, targets: np.ndarray) -> Markup:
    """Return predicted numbers over true ones, both `(N,)`."""
    shown = np.unique(np.linspace(0, len(outputs) - 1, min(len(outputs), MAX_POINTS)).astype(int))
    ends = [min(outputs.min(), targets.min()), max(outputs.max(), targets.max())]

    def draw(axes: Axes) -> None:
        axes.plot(ends, ends, color="gray", linewidth=0.8, linestyle=":")
        axes.scatter(targets[shown], outputs[shown], 12, alpha=0.5)
        axes.set(title="predicted against true", xlabel="true", ylabel="predicted")

    return svg(draw, f"Predicted against true numbers of {len(outputs):,} examples, {ends[0]:.4g} to {ends[1]:.4g}.")


def jpeg(pixels: np.ndarray) -> str:
    """Return an image, uint8 `(H, W, 3)`, as the address of a small JPEG that a page holds itself."""
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
