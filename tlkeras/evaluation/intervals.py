"""95% confidence intervals of metrics: Wilson's for proportions, a seeded bootstrap over examples for all others."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import binomtest

from tlkeras.evaluation.calibration import BINS, bin_indices, confidences

MAX_RESAMPLES, MIN_RESAMPLES = 1000, 100
BUDGET = 10**8  # resamples x examples x classes; more are fewer resamples
CHUNK = 10**6  # resamples x examples that are in memory at once
POINTS = 500  # of a curve of a resample
BOOTSTRAP = f"percentile bootstrap over examples (up to {MAX_RESAMPLES:,} resamples, seed 0)"
METHODS = (
    "Wilson for accuracy of one label, top-k accuracy, exact match, and precision and recall of a class; for all "
    f"others a {BOOTSTRAP}, basic for ece"
)
Statistics = Callable[[np.ndarray], Mapping[str, np.ndarray]]  # weights (N, B) of examples to metrics (B,) or (K, B)


def wilson_interval(correct: int, count: int) -> list[float] | None:
    """Return Wilson's 95% confidence interval of a proportion (1927, JASA 22), rounded; None without any count."""
    if not count:
        return None
    interval = binomtest(correct, count).proportion_ci(0.95, method="wilson")
    return [round(float(interval.low), 4), round(float(interval.high), 4)]


def bootstrap(statistics: Statistics, count: int, classes: int = 1) -> dict[str, np.ndarray]:
    """Return each metric `(B,)` or `(K, B)` of B resamples of so many examples (Efron 1979, Ann. Statist. 7)."""
    resamples = min(MAX_RESAMPLES, max(MIN_RESAMPLES, BUDGET // (count * classes)))
    rng, step, found = np.random.default_rng(0), max(1, CHUNK // count), []
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        drawn = rng.integers(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape)
        found.append(statistics(np.ascontiguousarray(weights.T, "float64")))
    return {name: np.concatenate([part[name] for part in found], axis=-1) for name in found[0]}


def percentile_interval(values: np.ndarray) -> list[float] | None:
    """Return the middle 95% of a metric of resamples `(B,)`; None where it says nothing.

    So it is where most resamples leave the metric undefined, and where all agree, as if it were certain.
    """
    known = values[~np.isnan(values)]
    if 2 * len(known) < len(values) or np.ptp(known) < 1e-12:
        return None
    return rounded(np.percentile(known, [2.5, 97.5]))


def interval(name: str, estimate: float | None, resampled: Mapping[str, np.ndarray]) -> list[float] | None:
    """Return the interval of a metric by what it is of resamples; None where the metric is not defined."""
    if estimate is None or name not in resampled:
        return None
    found = percentile_interval(resampled[name])
    if found is None or name != "ece":  # which is larger in every resample
        return found
    low, high = 2 * estimate - np.array(found[::-1])
    return rounded([min(max(low, 0.0), estimate), max(high, estimate)])


def rounded(values: Sequence[float] | np.ndarray) -> list[float]:
    """Return numbers with four significant digits."""
    return [float(f"{value:.4g}") for value in values]


class LabelStatistics:
    """Metrics of labels for many weightings of the examples at once; with all weights 1 those of scikit-learn."""

    def __init__(
        self, rows: Mapping[str, np.ndarray], outputs: np.ndarray, true: np.ndarray, decided: np.ndarray, one: bool,
        points: int,
    ) -> None:  # fmt: skip
        """Take values `(N,)` of which metrics are the means, and `(N, K)`; `one` tells one label from several.

        A curve with N points is exact; with fewer it costs less, and with none there are no areas under curves.
        """
        self.names, self.rows, self.one = list(rows), np.stack(list(rows.values())), one
        self.counts = csr_array(np.hstack([true & decided, decided, true]).T.astype("float64"))
        confidence, hit = confidences(outputs, true, one)
        examples = np.repeat(np.arange(len(outputs)), len(confidence) // len(outputs))
        indices = (bin_indices(confidence, BINS), examples)
        self.gaps = csr_array(((confidence - hit) / len(confidence), indices), shape=(BINS, len(outputs)))
        with_both = true.any(axis=0) & ~true.all(axis=0)
        self.curves = [Curve(outputs[:, k], true[:, k], points) for k in np.flatnonzero(with_both) if points]

    def __call__(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Return the metrics `(B,)` of weights `(N, B)` whose sums are N, and "f1" of each class `(K, B)`."""
        found = dict(zip(self.names, self.rows @ weights / len(weights), strict=True))
        hit, decided, true = np.split(self.counts @ weights, 3)
        recall = ratio(hit, true)
        by_name = {"precision": ratio(hit, decided), "recall": recall, "f1": ratio(2 * hit, decided + true)}
        present = (decided + true > 0) | (not self.one)
        for name, values in by_name.items():
            found[f"macro_{name}"] = ratio((values * present).sum(axis=0), present.sum(axis=0))
            found[f"weighted_{name}"] = ratio((values * true).sum(axis=0), true.sum(axis=0))
        found["f1"] = by_name["f1"]
        if self.one:
            found["balanced_accuracy"] = ratio(recall.sum(axis=0), (true > 0).sum(axis=0))
        else:
            absent = len(weights) - true
            both = (recall + ratio(absent - decided + hit, absent)) / 2
            known = (true > 0) & (absent > 0)  # as for ROC, a label that all or none have is left out
            found["balanced_accuracy"] = ratio((both * known).sum(axis=0), known.sum(axis=0), np.nan)
        found["ece"] = np.abs(self.gaps @ weights).sum(axis=0)
        areas = np.array([curve.areas(weights) for curve in self.curves] or np.full((1, 2, weights.shape[1]), np.nan))
        known = ~np.isnan(areas)
        means = ratio(np.where(known, areas, 0.0).sum(axis=0), known.sum(axis=0), np.nan)
        return found | dict(zip(("roc_auc", "average_precision"), means, strict=True))


class Curve:
    """The ROC and the precision-recall curve of one class."""

    def __init__(self, scores: np.ndarray, positive: np.ndarray, points: int) -> None:
        """Sort scores `(N,)`, the highest first, into so many groups; equal ones are in one."""
        order = np.argsort(-scores, kind="stable")
        ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))
        ends = ends[np.unique(np.linspace(0, len(ends) - 1, points).astype(int))]
        groups = np.searchsorted(ends, np.arange(len(order)))
        shape = (len(ends), len(order))
        self.all = csr_array((np.ones(len(order)), (groups, order)), shape=shape)
        self.positive = csr_array((positive[order].astype("float64"), (groups, order)), shape=shape)

    def areas(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the area under the ROC curve and the average precision `(B,)`; NaN where a class is missing."""
        chosen, hits = np.cumsum(self.all @ weights, axis=0), np.cumsum(self.positive @ weights, axis=0)
        steps, false = np.diff(hits, axis=0, prepend=0.0), np.diff(chosen - hits, axis=0, prepend=0.0)
        positive, negative = hits[-1], chosen[-1] - hits[-1]
        area = ratio((false * (hits - steps / 2)).sum(axis=0), positive * negative, np.nan)
        return area, ratio((steps * ratio(hits, chosen)).sum(axis=0), positive, np.nan)


def regression_statistics(outputs: np.ndarray, targets: np.ndarray) -> Statistics:
    """Return a function from weights `(N, B)` to the errors and R² of outputs and targets `(N, K)`."""
    errors, centered = (outputs - targets).T, (targets - targets.mean(axis=0)).T
    centered *= np.ptp(targets, axis=0)[:, None] > 0
    tiny = 1e-12 * (centered**2).mean(axis=1, keepdims=True)  # below which a spread is a rounding error

    def statistics(weights: np.ndarray) -> dict[str, np.ndarray]:
        weights = weights / len(weights)
        squared, spread = errors**2 @ weights, centered**2 @ weights - (centered @ weights) ** 2
        mse, mae = squared.mean(axis=0), (np.abs(errors) @ weights).mean(axis=0)
        r2 = 1 - ratio(squared, np.where(spread > tiny, spread, 0.0), np.nan)
        return {"loss": mse, "mse": mse, "rmse": np.sqrt(mse), "mae": mae, "r2": r2.mean(axis=0)}

    return statistics


def ratio(part: np.ndarray, whole: np.ndarray, empty: float = 0.0) -> np.ndarray:
    """Return part / whole, and `empty` where whole is 0."""
    return np.divide(part, whole, out=np.full(np.shape(part), empty), where=whole > 0)
