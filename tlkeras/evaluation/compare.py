"""Compare the outputs of several models for the same examples: paired intervals, McNemar's test, a plot."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binomtest

from tlkeras.config.fields import Task

RESAMPLES = 1000


def compare_outputs(outputs: Sequence[np.ndarray], targets: np.ndarray, task: Task) -> list[dict[str, Any]]:
    """Return the metrics of models on the same examples `(N, K)`, with intervals, and the differences from the best.

    Intervals are of a paired bootstrap: all models see the same resampled examples (Efron and Tibshirani 1993);
    "mcnemar_p" is of the exact test for one label (McNemar 1947, Psychometrika 12). The best model, by accuracy or mean
    absolute error and then the loss, has None as its "difference".
    """
    outputs, targets = [given.astype("float64") for given in outputs], targets.astype("float64")
    count = len(targets)
    ones = np.ones(count, int)
    values = [weighted_metrics(given, targets, task, ones) for given in outputs]
    rng = np.random.default_rng(0)
    resampled: list[list[list[float]]] = [[] for _ in outputs]
    for _ in range(RESAMPLES):
        weights = np.bincount(rng.integers(0, count, count), minlength=count)
        for given, drawn in zip(outputs, resampled, strict=True):
            drawn.append(list(weighted_metrics(given, targets, task, weights).values()))
    sampled = np.array(resampled)  # (models, resamples, metrics)
    sign = 1 if task == "regression" else -1
    best = min(range(len(values)), key=lambda model: (sign * next(iter(values[model].values())), values[model]["loss"]))
    rows = []
    for model, metrics in enumerate(values):
        difference: dict[str, Any] | None = None
        if model != best:
            difference = {name: value - values[best][name] for name, value in metrics.items()}
            difference["intervals_95"] = intervals(sampled[model] - sampled[best], metrics)
            if task == "single_label":
                difference["mcnemar_p"] = mcnemar(*(hits(outputs[one], targets) for one in (model, best)))
        rows.append(metrics | {"intervals_95": intervals(sampled[model], metrics), "difference": difference})
    return rows


def weighted_metrics(outputs: np.ndarray, targets: np.ndarray, task: Task, weights: np.ndarray) -> dict[str, float]:
    """Return the metrics of examples that count as often as their weights `(N,)` say; the first one ranks models."""
    if task == "regression":
        errors = outputs - targets
        means = np.average(np.stack([abs(errors).mean(axis=1), (errors**2).mean(axis=1)]), axis=1, weights=weights)
        return {"mae": float(means[0]), "loss": float(means[1])}
    safe = np.clip(outputs, 1e-7, 1 - 1e-7)
    if task == "multi_label":
        decided, true = outputs >= 0.5, targets > 0.5
        right = (decided == true).mean(axis=1)
        losses = -(targets * np.log(safe) + (1 - targets) * np.log(1 - safe)).mean(axis=1)
    else:
        classes = np.arange(targets.shape[1])
        decided, true = outputs.argmax(axis=1)[:, None] == classes, targets.argmax(axis=1)[:, None] == classes
        right = hits(outputs, targets)
        losses = -np.log(safe[true])
    both, either = 2 * weights @ (decided & true), weights @ decided.astype(int) + weights @ true.astype(int)
    f1 = both / np.maximum(either, 1)
    f1 = f1 if task == "multi_label" else f1[either > 0]  # of the classes that occur, as in scikit-learn
    accuracy, loss = (float(np.average(of_each, weights=weights)) for of_each in (right, losses))
    return {"accuracy": accuracy, "macro_f1": float(f1.mean()), "loss": loss}


def hits(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return for each example whether the top class is the right one."""
    return outputs.argmax(axis=1) == targets.argmax(axis=1)


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value of the exact test that two models are right on equally many examples; both bool `(N,)`."""
    only_first, differing = int((first & ~second).sum()), int((first != second).sum())
    return float(binomtest(only_first, differing).pvalue) if differing else 1.0


def intervals(sampled: np.ndarray, metrics: Mapping[str, float]) -> dict[str, list[float]]:
    """Return the central 95 % of resampled metrics `(resamples, metrics)` by name."""
    low, high = np.percentile(sampled, [2.5, 97.5], axis=0)
    return {name: [float(low[index]), float(high[index])] for index, name in enumerate(metrics)}


def plot_comparison(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot accuracy (or mean absolute error) with its interval against latency, where it is known, and size."""
    metric = "accuracy" if "accuracy" in rows[0] else "mae"
    shown = {"milliseconds": "latency of one example in ms", "megabytes": "size of model.keras in MB"}
    shown = {name: title for name, title in shown.items() if rows[0].get(name) is not None}
    figure = Figure(figsize=(5 * len(shown), 4), layout="constrained")
    for axes, (name, title) in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown.items(), strict=True):
        for number, row in enumerate(rows, start=1):
            low, high = row["intervals_95"][metric]
            axes.plot([row[name]] * 2, [low, high], color=f"C{number - 1}", linewidth=1)
            axes.plot(row[name], row[metric], "o", color=f"C{number - 1}", label=f"{number}: {Path(row['run']).name}")
        axes.set(xlabel=title, ylabel="mean absolute error" if metric == "mae" else "accuracy")
        axes.set_xlim(left=0)
        axes.margins(x=0.15)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=120)
