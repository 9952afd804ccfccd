"""Learning curves: runs at several sizes of the training set, to intervals, a table and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan, nan
from pathlib import Path
from statistics import mean, median

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

BASELINE = "random"  # what the others are compared with
VARIANTS = {
    BASELINE: "random, all layers",
    "all_layers": "pretrained, all layers",
    "two_phases": "pretrained, two phases",
}
MIN_SEEDS = 3  # fewer have no confidence interval that says anything
HEADER = "percent    images  weights, training       accuracy  gain, 95% CI               seconds"


@dataclass(frozen=True)
class Run:
    """One training of each of `VARIANTS` on the same images, a percentage of the training set."""

    percent: int
    images: int
    seed: int
    accuracy: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Size:
    """All runs, one for each seed, with one size of the training set."""

    percent: int
    runs: Sequence[Run]

    @property
    def images(self) -> int:
        """Return the number of training images."""
        return round(median(run.images for run in self.runs))

    def accuracy(self, variant: str) -> tuple[float, float, float]:
        """Return mean and 95% confidence interval of one variant."""
        return interval([run.accuracy[variant] for run in self.runs])

    def seconds(self, variant: str) -> float:
        """Return the median of one variant."""
        return median(run.seconds[variant] for run in self.runs)

    def gain(self, variant: str) -> tuple[float, float, float]:
        """Return mean and 95% confidence interval of the gain over random weights, run by run."""
        return interval([run.accuracy[variant] - run.accuracy[BASELINE] for run in self.runs], lowest=-1.0)


def by_size(runs: Sequence[Run]) -> list[Size]:
    """Return the runs of each size, the smallest first."""
    percents = sorted({run.percent for run in runs})
    return [Size(percent, [run for run in runs if run.percent == percent]) for percent in percents]


def interval(values: Sequence[float], lowest: float = 0.0) -> tuple[float, float, float]:
    """Return the mean, and its 95% confidence interval by Student's t within `lowest` to 1.

    The interval is NaN for too few values, and for equal ones, where it would have no width.
    """
    center = mean(values)
    if len(values) < MIN_SEEDS or len(set(values)) == 1:  # else of zero width, as if it were certain
        return center, nan, nan
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return center, max(lowest, center - half), min(1.0, center + half)


def table_rows(size: Size) -> str:
    """Return the metrics of one size, a line for each variant, under `HEADER`."""
    rows: list[str] = []
    for variant, name in VARIANTS.items():
        start = f"{'':>7}  {'':>8}" if rows else f"{size.percent:>7}  {size.images:>8,}"
        gain, low, high = size.gain(variant)
        around = "" if isnan(low) else f" ({low:+.3f} to {high:+.3f})"
        gained = "" if variant == BASELINE else f"{gain:+.3f}{around}"
        accuracy = size.accuracy(variant)[0]
        rows.append(f"{start}  {name:<22}  {accuracy:>8.3f}  {gained:<25}  {size.seconds(variant):>7.1f}")
    return "\n".join(rows)


def savings(sizes: Sequence[Size], chance: float) -> str:
    """Return how much less data and time pretrained weights need for what random ones reach with the most images.

    They are compared with the fewest images from which random weights reach it, too. Only sizes that were measured
    count: nothing is interpolated. Larger sizes must reach it as well. `chance` is the accuracy of always predicting
    the most common class.
    """
    goal, low, high = sizes[-1].accuracy(BASELINE)
    if (goal if isnan(low) else low) <= chance:
        more = "more" if isnan(low) else "significantly more"
        return (
            f"Random weights reach {goal:.3f} with {sizes[-1].images:,} images, not {more} than the "
            f"{chance:.3f} of the most common class: there is nothing to compare savings with."
        )
    own = first_to_reach(goal, BASELINE, sizes) or sizes[-1]  # which reaches it by definition
    reference = f"{own.images:,} images in {own.seconds(BASELINE):.1f} s ({goal:.3f}{bounds(low, high)})"
    lines = [f"  {VARIANTS[name]}: {saved_by(name, goal, own, sizes)}" for name in VARIANTS if name != BASELINE]
    return "\n".join([f"On average, what random weights reach with {reference} takes", *lines])


def saved_by(variant: str, goal: float, own: Size, sizes: Sequence[Size]) -> str:
    """Return what one variant needs to reach an accuracy, and how much less that is than `own` of random weights."""
    enough = first_to_reach(goal, variant, sizes)
    if enough is None:
        return "more images than there were; transfer saves nothing here."
    center, low, high = enough.accuracy(variant)
    fewer = " or fewer" if enough is sizes[0] else ""
    data = relative(enough.images, own.images, "data")
    time = relative(enough.seconds(variant), own.seconds(BASELINE), "time")
    needed = f"{enough.images:,} images{fewer} and {enough.seconds(variant):.1f} s"
    return f"{needed} ({center:.3f}{bounds(low, high)}): {data}, {time}."


def bounds(low: float, high: float) -> str:
    """Return an interval as it follows an accuracy, if there is one."""
    return "" if isnan(low) else f", {low:.3f} to {high:.3f}"


def first_to_reach(goal: float, variant: str, sizes: Sequence[Size]) -> Size | None:
    """Return the smallest size from which on one variant reaches an accuracy on average; None if none does."""
    reaches = [size.accuracy(variant)[0] >= goal for size in sizes]
    return next((size for index, size in enumerate(sizes) if all(reaches[index:])), None)


def relative(new: float, old: float, what: str) -> str:
    """Return how much less, or more, of something."""
    percent = round(100 * (1 - new / old))
    return f"{abs(percent)}% {'less' if percent > 0 else 'more'} {what}" if percent else f"as much {what}"


def plot_learning_curve(sizes: Sequence[Size], title: str, path: Path) -> None:
    """Plot the accuracy of all variants over the size of the training set, with bands of 95%, as PNG."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    images = [size.images for size in sizes]
    for variant, name in VARIANTS.items():
        center, low, high = np.array([size.accuracy(variant) for size in sizes]).T
        axes.plot(images, center, marker="o", label=name)
        axes.fill_between(images, low, high, alpha=0.2)
    axes.set_xscale("log")
    axes.set_xticks(images, [f"{count:,}" for count in images])
    axes.xaxis.minorticks_off()
    spread = "" if np.isnan(low).all() else " and 95% CI"
    axes.set(xlabel="training images", ylabel=f"accuracy, mean{spread}", ylim=(0, 1), title=title)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
