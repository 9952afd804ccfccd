"""Find a learning rate for each phase: raise it with every step, and see where the loss stops falling."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.figure import Figure

from tlkeras.config.extensions import Extensions
from tlkeras.config.fields import with_options
from tlkeras.config.train import TrainingOptions
from tlkeras.models.freezing import set_trainable
from tlkeras.models.introspect import default_unfreeze
from tlkeras.progress import progress
from tlkeras.training.checkpoint import assign_all, to_numpy
from tlkeras.training.extensions import resolve_extensions
from tlkeras.training.given_data import fit_to_model
from tlkeras.training.optimizers import make_optimizer
from tlkeras.training.phase import OPTIONS, TITLES, Phase, PhaseInputs, compile_part
from tlkeras.training.phase_inputs import epoch_rows, prepare_phases
from tlkeras.training.two_phase import TrainingResult, plan_phases, start_phase, train_phase

LOWEST, HIGHEST = 1e-7, 10.0
STEPS = 150
DIVERGED = 4.0  # times the lowest loss, from which on nothing is learned any more
SMOOTHING = 0.9  # of the moving average of the losses
BELOW = 10.0  # times lower than where the loss is lowest


@dataclass(frozen=True)
class LearningRateTest:
    """The loss of one phase while the learning rate rises.

    Attributes:
        rates: the learning rate of each step, `(S,)`.
        losses: the loss of each step, `(S,)`, as a moving average.
    """

    rates: np.ndarray
    losses: np.ndarray

    @property
    def lowest(self) -> float:
        """Return the rate at which the loss was lowest."""
        return float(self.rates[self.losses.argmin()])

    @property
    def suggested(self) -> float:
        """Return a tenth of that, rounded."""
        return float(f"{self.lowest / BELOW:.1g}")


def find_learning_rates(
    model: keras.Model, train: Any, validation: Any = None, options: TrainingOptions | None = None, *,
    loss: Any = None, augment: Any = None, **changes: Any,
) -> dict[str, LearningRateTest]:  # fmt: skip
    """Test learning rates for both phases (Smith 2017, arXiv:1506.01186).

    The rate rises from 1e-7 to 10, the same factor with each of 150 steps, until the loss is four times its lowest.
    Phase 2 is tested on the head that phase 1 trains with the options that are given. The model is left as it was.

    Args:
        model: from `build_classifier`.
        train: the training split, as for `train_two_phases`.
        validation: the validation split, which chooses the epoch of phase 1.
        options: batch size, optimizer, augmentation and all else; the defaults when None.
        loss: as for `train_two_phases`, and so is the next one.
        augment: a function of uint8 images `(B, S, S, 3)`, or Keras layers.
        **changes: single options, such as `batch_size=16`.

    Returns:
        A test for "frozen" and, where there is a phase 2, for "finetune".

    Raises:
        UserError: as `train_two_phases`.

    Example:
        >>> tests = find_learning_rates(model, splits["train"], splits["validation"])
        >>> tests["finetune"].suggested
    """
    options = with_options(options or TrainingOptions(), changes, "find_learning_rates")
    train, validation = fit_to_model(model, train, validation)
    options = options.with_defaults(default_unfreeze(model))
    options = options.for_examples(len(epoch_rows(train, options)))
    given = resolve_extensions(Extensions(loss=loss, augment=augment), train, options)
    before = to_numpy(model.weights)
    inputs = prepare_phases(model, train, validation, options, given.augment)
    phases, tests = plan_phases(model, options), {}
    for phase in phases:
        start_phase(model, phase, options)
        tests[phase.name] = rate_test(model, phase, inputs[phase.name], options, given)
        if phase is not phases[-1]:
            train_phase(model, phase, inputs, options, TrainingResult(monitor=options.monitor), None, None, given)
    set_trainable(model, "none")
    assign_all(model.weights, before)
    return tests


def rate_test(
    model: keras.Model, phase: Phase, inputs: PhaseInputs, options: TrainingOptions, given: Extensions
) -> LearningRateTest:
    """Raise the learning rate over the steps of one phase; all that a step changes is put back."""
    schedule = keras.optimizers.schedules.ExponentialDecay(LOWEST, STEPS - 1, HIGHEST / LOWEST)
    variables = compile_part(
        model, inputs.part, make_optimizer(model, options, schedule), options.label_smoothing, given
    )
    before, losses, smooth = to_numpy(variables), [], 0.0
    batches = inputs.training(first_epoch=0, last_epoch=-(-STEPS // inputs.steps)).take(STEPS)
    with progress(STEPS, f"Testing learning rates of {TITLES[phase.name].lower()}", "steps") as bar:
        for step, batch in enumerate(batches, start=1):
            inputs.part.reset_metrics()
            smooth = SMOOTHING * smooth + (1 - SMOOTHING) * inputs.part.train_on_batch(*batch, return_dict=True)["loss"]
            losses.append(smooth / (1 - SMOOTHING**step))
            bar.update()
            if not losses[-1] <= DIVERGED * min(losses):  # not a number, either
                break
    assign_all(variables, before)
    kept = np.isfinite(losses)
    rates = np.array([float(schedule(step)) for step in range(len(losses))])
    return LearningRateTest(rates[kept], np.array(losses)[kept])


def plot_learning_rates(tests: Mapping[str, LearningRateTest], path: Path | None = None) -> Figure:
    """Plot the loss of each phase against the learning rate, and mark the one that is suggested.

    Args:
        tests: from `find_learning_rates`.
        path: where the PNG is saved; nowhere when None.

    Returns:
        The figure, which a notebook shows.

    Example:
        >>> plot_learning_rates(tests)
    """
    figure = Figure(figsize=(5 * len(tests), 4), layout="constrained")
    for axes, (name, test) in zip(figure.subplots(1, len(tests), squeeze=False)[0], tests.items(), strict=True):
        axes.semilogx(test.rates, test.losses)
        axes.axvline(test.suggested, color="gray", linestyle=":", label=f"{OPTIONS[name]} {test.suggested:g}")
        axes.set(title=TITLES[name], xlabel="learning rate", ylabel="training loss", ylim=(0, 1.5 * test.losses[0]))
        axes.legend(frameon=False, fontsize="small")
    if path:
        figure.savefig(path, dpi=120)
    return figure
