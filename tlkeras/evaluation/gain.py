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

ARMS = {"pretrained": "pretrained weights", "random": "random weights"}
TITLE = (
    "                   accuracy of the weights          interval of     seconds of training\n"
    "percent  pictures  pretrained  random    gain         the gain  pretrained    random"
)


@dataclass(frozen=True)
class Trial:
    """One pair of runs on the same pictures.

    Attributes:
        percent: of the training set.
        images: pictures that were not judged, to learn from and to choose the epoch.
        seed: of their choice, and of both runs.
        accuracy: of each arm, "pretrained" and "random", on the same pictures.
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
        """Pictures that were not judged."""
        return round(median(trial.images for trial in self.trials))

    def accuracy(self, arm: str) -> tuple[float, float, float]:
        """Mean and 95 % interval of one arm."""
        return interval([trial.accuracy[arm] for trial in self.trials])

    def seconds(self, arm: str) -> float:
        """Median of one arm."""
        return median(trial.seconds[arm] for trial in self.trials)

    def gain(self) -> tuple[float, float, float]:
        """Mean and 95 % interval of what the pretrained weights are better by, trial by trial."""
        return interval([trial.accuracy["pretrained"] - trial.accuracy["random"] for trial in self.trials])


def by_size(trials: Sequence[Trial]) -> list[Size]:
    """Trials of each size, the smallest first."""
    percents = sorted({trial.percent for trial in trials})
    return [Size(percent, [trial for trial in trials if trial.percent == percent]) for percent in percents]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its 95 % interval by Student's t."""
    centre = mean(values)
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return centre, centre - half, centre + half


def line(size: Size) -> str:
    """The figures of one size, under `TITLE`."""
    arms = [size.accuracy(arm)[0] for arm in ARMS]
    gain, low, high = size.gain()
    spread = f"{low:+.3f} to {high:+.3f}"
    seconds = [size.seconds(arm) for arm in ARMS]
    return (
        f"{size.percent:>7}  {size.images:>8,}  {arms[0]:>10.3f}  {arms[1]:>6.3f}  {gain:>+6.3f}  {spread:>16}  "
        f"{seconds[0]:>10.1f}  {seconds[1]:>8.1f}"
    )


def savings(sizes: Sequence[Size], chance: float) -> str:
    """How much less data and time the pretrained weights need for what random ones reach with the most pictures.

    Only sizes that were measured count: nothing is interpolated. Larger sizes must reach it too.

    Args:
        sizes: from `by_size`.
        chance: share of the commonest class, which a model reaches that has learned nothing.
    """
    most = sizes[-1]
    (goal, low, _), seconds = most.accuracy("random"), most.seconds("random")
    if low <= chance:
        return (
            f"Random weights reach {goal:.3f} with {most.images:,} pictures, no more for certain than the {chance:.3f} "
            "of the commonest class: there is nothing to compare savings with."
        )
    reference = f"what random weights reach with {most.images:,} pictures in {seconds:.1f} s ({goal:.3f})"
    reaches = [size.accuracy("pretrained")[0] >= goal for size in sizes]
    enough = next((size for place, size in enumerate(sizes) if all(reaches[place:])), None)
    if enough is None:
        return f"At no size do pretrained weights reach {reference}: here, transfer saves nothing."
    own = enough.seconds("pretrained")
    data = "less data" if enough is most else f"{1 - enough.images / most.images:.0%} less data"
    change = round(100 * (1 - own / seconds))
    time = f"{abs(change)}% {'less' if change > 0 else 'more'} time" if change else "as much time"
    least = " or fewer" if enough is sizes[0] else ""
    saved = f"no {data}, {time}" if enough is most else f"{data}, {time}"
    return (
        f"For {reference}, pretrained weights need {enough.images:,} pictures{least} and {own:.1f} s "
        f"({enough.accuracy('pretrained')[0]:.3f}): {saved}."
    )


def plot_gain(sizes: Sequence[Size], judged: str, path: Path) -> None:
    """Accuracy of both arms over the size of the training set, with bands of 95 %.

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
