"""Options of what comes around a training: calibration, thresholds, and the run's folder."""

from dataclasses import dataclass
from typing import Literal

from tlkeras.config.fields import Options, option
from tlkeras.errors import UserError


@dataclass(kw_only=True, repr=False)
class EvaluationOptions(Options):
    """Calibration and thresholds."""

    calibration: Literal["auto", "none"] = option(
        "auto", "auto: fit probabilities to how often they are right on validation, where it has enough examples"
    )
    wanted_accuracy: float = option(
        0.95, "accuracy of the predictions that are not called unsure, and precision of a label; chooses thresholds on "
        "validation", 0.01, 1.0,
    )  # fmt: skip


@dataclass(kw_only=True, repr=False)
class RunOptions(Options):
    """Run folder."""

    run_dir: str | None = option(None, "folder that the run is written to (default: a new one in saved_models/)")
    overwrite: bool = option(False, "replace the run folder if it exists")
    verbose: bool = option(False, "print the seconds of each stage at the end")
    resume: bool = option(False, "resume the run that this command started and did not finish, if there is one")

    def check_run(self) -> None:
        """Refuse options that contradict each other."""
        if self.overwrite and self.resume:
            raise UserError("Both --overwrite and --resume were given; start over, or resume: give one of them.")
