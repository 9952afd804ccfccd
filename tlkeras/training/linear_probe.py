"""A linear probe: the head as the linear solution on cached features, fitted at once instead of trained.

With few labels gradient descent ends before it gets anywhere, and a handful of validation images stops it at random.
"""

import logging
import time
import warnings
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import keras
import numpy as np
from scipy.special import log_softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits

from tlkeras.config.extensions import Extensions
from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.models.introspect import get_task
from tlkeras.training.callbacks import score
from tlkeras.training.phase import PhaseInputs, loss_and_metrics

if TYPE_CHECKING:
    from tlkeras.training.two_phase import TrainingResult

log = logging.getLogger("tlkeras")

# Training examples up to which phase 1 is a probe: of a class on average, or in all.
FEW_OF_CLASS, FEW = 10, 64
FOLDS = 5
RIDGE, LOGISTIC = "ridge regression", "logistic regression"
PENALTIES = {RIDGE: 10.0 ** np.arange(7), LOGISTIC: 10.0 ** np.arange(4)}  # that are tried
MIDDLE = {RIDGE: np.array([100.0])}  # where no example can be held out
MAX_LOGISTIC = 10_000  # examples times classes, above which logistic regression takes minutes
SCALES = 10.0 ** np.linspace(-3, 3, 49)  # of the logits


@dataclass(frozen=True)
class LinearHead:
    """Logits `features @ kernel + bias`, by one solution."""

    solution: str
    kernel: np.ndarray  # (C, K)
    bias: np.ndarray  # (K,)


def fit_linear_head(features: np.ndarray, labels: np.ndarray, num_classes: int, seed: int = 0) -> LinearHead:
    """Fit ridge and logistic regression with several penalties; return what cross-validation prefers.

    Candidates are compared by the log loss of held-out examples, each at its best scale of the logits. As few examples
    are told apart without a mistake at any scale, a label counts as (n + 1) / (n + 2) certain where its class has n
    examples (Platt 1999).

    Args:
        features: `(V * N, C)`, V views of each example, view by view.
        labels: class indices `(N,)`, below `num_classes`.
        num_classes: K.
        seed: of the folds.

    Returns:
        Kernel and bias for features as they were given.

    Example:
        >>> head = fit_linear_head(features, labels, 3)
        >>> (features @ head.kernel + head.bias).argmax(axis=1)
    """
    counts, every = np.bincount(labels, minlength=num_classes), np.arange(len(labels))
    mean, std = features.mean(axis=0, dtype="float64"), float(features.std()) or 1.0
    views = ((features - mean) / std).reshape(-1, len(labels), features.shape[1])
    folds, penalties = [(every, every)], MIDDLE
    if counts.min() > 1:
        splitter = StratifiedKFold(min(FOLDS, counts.min()), shuffle=True, random_state=seed)
        folds, penalties = list(splitter.split(every, labels)), dict(PENALTIES)
        if len(labels) * num_classes > MAX_LOGISTIC:
            del penalties[LOGISTIC]
    certain = (counts + 1) / (counts + 2)
    targets = np.where(np.eye(num_classes, dtype=bool), certain[:, None], (1 - certain[:, None]) / (num_classes - 1))
    best = (np.inf, "", 0.0, 0.0)  # loss, solution, penalty, scale
    for solution in penalties:
        for penalty in penalties[solution]:
            logits = np.empty((*views.shape[:2], num_classes))
            for train, held_out in folds:
                kernel, bias = solve(solution, penalty, views[:, train], labels[train], num_classes)
                logits[:, held_out] = views[:, held_out] @ kernel + bias
            for scale in SCALES:
                loss = -(targets[labels] * log_softmax(scale * logits, axis=-1)).sum(axis=-1).mean()
                best = min(best, (loss, solution, penalty, scale))
    _, solution, penalty, scale = best
    kernel, bias = solve(solution, penalty, views, labels, num_classes)
    kernel *= scale / std
    return LinearHead(solution, kernel, scale * bias - mean @ kernel)


def solve(
    solution: str, penalty: float, views: np.ndarray, labels: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel `(C, K)` and bias `(K,)` for views `(V, n, C)` of examples with labels `(n,)`."""
    features, labels = views.reshape(-1, views.shape[-1]), np.tile(labels, len(views))
    if solution == RIDGE:
        ridge = Ridge(alpha=penalty).fit(features, np.eye(num_classes)[labels])
        return ridge.coef_.T, ridge.intercept_
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of a penalty that hardly binds
        logistic = LogisticRegression(C=1 / penalty, max_iter=300).fit(features, labels)
    kernel, bias = logistic.coef_.T, logistic.intercept_
    if num_classes == 2:  # one logit, of the second class
        kernel, bias = np.hstack([-kernel / 2, kernel / 2]), np.hstack([-bias / 2, bias / 2])
    return kernel, bias


def wants_probe(model: keras.Model, inputs: PhaseInputs, options: TrainingOptions, given: Extensions) -> bool:
    """Return whether phase 1 is a linear probe; refuse "always" where it cannot be one."""
    reasons = {
        "the task has one class for each example": get_task(model) == "single_label",
        "features are cached": inputs.features is not None,
        "the head has no hidden layers": [layer.name for layer in inputs.part.layers[1:]] == ["dropout", "output"],
        "the loss is the built-in one": given.loss is None and not options.label_smoothing,
        "classes have no weights": options.class_weights == "none",
        "the head has no penalty": model.get_layer("output").kernel_regularizer is None,
    }
    if options.linear_probe == "always" and not all(reasons.values()):
        lacking = next(reason for reason, holds in reasons.items() if not holds)
        raise UserError(f"--linear-probe was always, and it is possible only where {lacking}. Give auto.")
    few = inputs.examples <= max(FEW, FEW_OF_CLASS * model.output_shape[-1])
    return all(reasons.values()) and options.linear_probe in ("always", "auto" if few else "always")


def fit_probe(
    model: keras.Model, inputs: PhaseInputs, options: TrainingOptions, given: Extensions, result: "TrainingResult"
) -> None:
    """Put the linear head that cross-validation prefers into the model, as epoch 0 of a result."""
    start, features = time.perf_counter(), inputs.features
    assert features is not None  # see `wants_probe`
    pooled = np.asarray(features.arrays[0][:], "float32")
    with threadpool_limits(1):  # several wait for each other longer than one takes, where other programs run
        head = fit_linear_head(pooled, features.targets.argmax(axis=1), features.targets.shape[1], options.seed)
    model.get_layer("output").set_weights([head.kernel, head.bias])
    arguments = loss_and_metrics(model, 0.0, given)
    # [part: devices]
    from tlkeras.training.distribute import loss_on_devices

    arguments["loss"] = loss_on_devices(inputs.part, arguments["loss"])
    # [/part]
    inputs.part.compile(jit_compile=False, **arguments)
    evaluate = partial(inputs.part.evaluate, return_dict=True, verbose=0)
    logs = evaluate(features.evaluation_batches(inputs.batch_size))
    logs |= {f"val_{name}": value for name, value in evaluate(inputs.validation).items()}
    result.history.append({"phase": "frozen", "epoch": 0, "learning_rate": 0.0} | logs)
    result.kept, result.best = "frozen", score(logs, result.monitor)
    result.seconds["frozen"] = time.perf_counter() - start
    log.info("Linear probe: %s, chosen by cross-validation (%s %#.3g).", head.solution, result.monitor, result.value)
