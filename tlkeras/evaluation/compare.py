"""Compare the outputs of several models for the same examples: paired intervals, McNemar's test, a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from tlkeras.config.fields import Task
from tlkeras.evaluation.intervals import (
    LabelStatistics,
    Statistics,
    bootstrap,
    percentile_interval,
    regression_statistics,
    wilson_interval,
)
from tlkeras.evaluation.metrics import decisions, row_values


def compare_outputs(outputs: Sequence[np.ndarray], targets: np.ndarray, task: Task) -> list[dict[str, Any]]:
    """Return the metrics of models on the same examples `(N, K)`, with intervals, and the differences from the best.

    Intervals of differences are of a paired bootstrap: all models see the same resampled examples (Efron and Tibshirani
    1993); None where all resamples agree. "mcnemar_p" is of the exact test for one label (McNemar 1947, Psychometrika
    12). The best model, by accuracy or mean absolute error and then the loss, has None as its "difference".
    """
    outputs, targets = [given.astype("float64") for given in outputs], targets.astype("float64")
    count, labels = targets.shape
    names = ["mae", "loss"] if task == "regression" else ["accuracy", "macro_f1", "loss"]
    statistics = [model_statistics(given, targets, task) for given in outputs]
    once = [function(np.ones((count, 1))) for function in statistics]
    values = [{name: float(found[name][0]) for name in names} for found in once]
    sampled = [bootstrap(function, count, labels) for function in statistics]  # of one seed, and so paired
    sign = 1 if task == "regression" else -1
    best = min(range(len(values)), key=lambda model: (sign * values[model][names[0]], values[model]["loss"]))
    rows = []
    for model, metrics in enumerate(values):
        difference: dict[str, Any] | None = None
        if model != best:
            difference = {name: value - values[best][name] for name, value in metrics.items()}
            difference["intervals_95"] = {
                name: percentile_interval(sampled[model][name] - sampled[best][name]) for name in names
            }
            if task == "single_label":
                difference["mcnemar_p"] = mcnemar(*(hits(outputs[one], targets) for one in (model, best)))
        found = {name: percentile_interval(sampled[model][name]) for name in names}
        if task == "single_label":
            found["accuracy"] = wilson_interval(int(hits(outputs[model], targets).sum()), count)
        rows.append(metrics | {"intervals_95": found, "difference": difference})
    return rows


def model_statistics(outputs: np.ndarray, targets: np.ndarray, task: Task) -> Statistics:
    """Return a function from weights `(N, B)` of examples to the metrics `(B,)` of one model."""
    if task == "regression":
        return regression_statistics(outputs, targets)
    true, decided = decisions(outputs, targets, task)
    rows = {"accuracy": hits(outputs, targets).astype("float64")} | row_values(outputs, true, decided, task)
    return LabelStatistics(rows, outputs, true, decided, task == "single_label", points=0)


def hits(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return for each example whether the top class is the right one."""
    return outputs.argmax(axis=1) == targets.argmax(axis=1)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of the exact test that two models are right on equally many examples; both bool `(N,)`."""
    only_first, differing = int((first & ~second).sum()), int((first != second).sum())
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0


def plot_comparison(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot accuracy (or mean absolute error) with its interval against latency, where it is known, and size."""
    metric = "accuracy" if "accuracy" in rows[0] else "mae"
    shown = {"milliseconds": "latency of one example in ms", "megabytes": "size of model.keras in MB"}
    shown = {name: title for name, title in shown.items() if rows[0].get(name) is not None}
    figure = Figure(figsize=(5 * len(shown), 4), layout="constrained")
    for axes, (name, title) in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown.items(), strict=True):
        for number, row in enumerate(rows, start=1):
            low, high = row["intervals_95"][metric] or [row[metric]] * 2
            axes.plot([row[name]] * 2, [low, high], color=f"C{number - 1}", linewidth=1)
            axes.plot(row[name], row[metric], "o", color=f"C{number - 1}", label=f"{number}: {Path(row['run']).name}")
        axes.set(xlabel=title, ylabel="mean absolute error" if metric == "mae" else "accuracy")
        axes.set_xlim(left=0)
        axes.margins(x=0.15)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
