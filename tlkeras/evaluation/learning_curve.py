"""What transfer gains: repeated runs at several sizes of the training set, to intervals, a table and a plot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import matplotlib
import numpy as np
from scipy import stats

matplotlib.use("Agg")
from matplotlib import pyplot as plt

BASE = "random"  # what the others are compared with
ARMS = {
    BASE: "random, all layers",
    "all_layers": "pretrained, all layers",
    "two_phases": "pretrained, two phases",
}
TITLE = "percent  pictures  weights, training       accuracy  gain, 95 % interval        seconds"


@dataclass(frozen=True)
class Trial:
    """One run of each arm on the same pictures.

    Attributes:
        percent: of the training set.
        images: pictures to learn from.
        seed: of their choice, and of all runs.
        accuracy: of each of `ARMS`, on the same other pictures.
        seconds: of each arm's training.
    """

    percent: int
    images: int
    seed: int
    accuracy: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True)
class Size:
    """All trials with one size of the training set.

    Attributes:
        percent: of the training split.
        trials: one for each seed.
    """

    percent: int
    trials: Sequence[Trial]

    @property
    def images(self) -> int:
        """Pictures to learn from."""
        return round(median(trial.images for trial in self.trials))

    def accuracy(self, arm: str) -> tuple[float, float, float]:
        """Mean and 95 % interval of one arm."""
        return interval([trial.accuracy[arm] for trial in self.trials])

    def seconds(self, arm: str) -> float:
        """Median of one arm."""
        return median(trial.seconds[arm] for trial in self.trials)

    def gain(self, arm: str) -> tuple[float, float, float]:
        """Mean and 95 % interval of what one arm is better by than random weights, trial by trial."""
        return interval([trial.accuracy[arm] - trial.accuracy[BASE] for trial in self.trials])


def by_size(trials: Sequence[Trial]) -> list[Size]:
    """Trials of each size, the smallest first."""
    train_sizes = sorted({trial.percent for trial in trials})
    return [Size(percent, [trial for trial in trials if trial.percent == percent]) for percent in train_sizes]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % interval by Student's t."""
    centre = mean(values)
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return centre, centre - half, centre + half


def lines(size: Size) -> str:
    """The figures of one size, a line for each arm, under `TITLE`."""
    found = []
    for arm, name in ARMS.items():
        start = f"{'':>7}  {'':>8}" if found else f"{size.percent:>7}  {size.images:>8,}"
        gain, low, high = size.gain(arm)
        gained = "" if arm == BASE else f"{gain:+.3f} ({low:+.3f} to {high:+.3f})"
        found.append(f"{start}  {name:<22}  {size.accuracy(arm)[0]:>8.3f}  {gained:<25}  {size.seconds(arm):>7.1f}")
    return "\n".join(found)


def savings(sizes: Sequence[Size], chance: float) -> str:
    """How much less data and time the pretrained weights need for what random ones reach with the most pictures.

    They are compared with the fewest pictures from which random weights reach it, too. Only sizes that were measured
    count: nothing is interpolated. Larger sizes must reach it as well.

    Args:
        sizes: from `by_size`.
        chance: share of the commonest class, which a model reaches that has learned nothing.
    """
    goal, low, high = sizes[-1].accuracy(BASE)
    if low <= chance:
        return (
            f"Random weights reach {goal:.3f} with {sizes[-1].images:,} pictures, no more for certain than the "
            f"{chance:.3f} of the commonest class: there is nothing to compare savings with."
        )
    own = first_to_reach(goal, BASE, sizes)
    reference = f"{own.images:,} pictures in {own.seconds(BASE):.1f} s ({goal:.3f}, {low:.3f} to {high:.3f})"
    said = [f"  {ARMS[arm]}: {saved_by(arm, goal, own, sizes)}" for arm in ARMS if arm != BASE]
    return "\n".join([f"On average, what random weights reach with {reference} takes", *said])


def saved_by(arm: str, goal: float, own: Size, sizes: Sequence[Size]) -> str:
    """What one arm needs to reach an accuracy, and how much less that is than random weights need.

    Args:
        arm: one of `ARMS`.
        goal: the accuracy.
        own: the size with which random weights reach it.
        sizes: all of them.
    """
    enough = first_to_reach(goal, arm, sizes)
    if enough is None:
        return "more pictures than there were; transfer saves nothing here."
    centre, low, high = enough.accuracy(arm)
    least = " or fewer" if enough is sizes[0] else ""
    data = change(enough.images, own.images, "data")
    time = change(enough.seconds(arm), own.seconds(BASE), "time")
    needed = f"{enough.images:,} pictures{least} and {enough.seconds(arm):.1f} s"
    return f"{needed} ({centre:.3f}, {low:.3f} to {high:.3f}): {data}, {time}."


def first_to_reach(goal: float, arm: str, sizes: Sequence[Size]) -> Size | None:
    """The smallest size from which on one arm reaches an accuracy on average; None if the largest does not."""
    reaches = [size.accuracy(arm)[0] >= goal for size in sizes]
    return next((size for place, size in enumerate(sizes) if all(reaches[place:])), None)


def change(new: float, old: float, what: str) -> str:
    """How much less, or more, of something."""
    percent = round(100 * (1 - new / old))
    return f"{abs(percent)}% {'less' if percent > 0 else 'more'} {what}" if percent else f"as much {what}"


def plot_learning_curve(sizes: Sequence[Size], judged: str, path: Path) -> None:
    """Accuracy of all arms over the size of the training set, with bands of 95 %.

    Args:
        sizes: from `by_size`.
        judged: the title: what was measured, on what.
        path: where the PNG goes.
    """
    figure, panel = plt.subplots(figsize=(7, 4.5), layout="constrained")
    images = [size.images for size in sizes]
    for arm, name in ARMS.items():
        centre, low, high = np.array([size.accuracy(arm) for size in sizes]).T
        panel.plot(images, centre, marker="o", label=name)
        panel.fill_between(images, np.maximum(low, 0), np.minimum(high, 1), alpha=0.2)
    panel.set_xscale("log")
    panel.set_xticks(images, [f"{count:,}" for count in images])
    panel.xaxis.minorticks_off()
    panel.set(xlabel="labelled pictures", ylabel="accuracy, mean and 95 % interval", ylim=(0, 1), title=judged)
    panel.grid(alpha=0.3)
    panel.legend(frameon=False)
    figure.savefig(path, dpi=120)
    plt.close(figure)
