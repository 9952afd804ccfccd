"""Expected calibration error before and after the temperature that training folds into the model, over several seeds.

    python benchmarks/calibration.py DATA --weights FILE

DATA is a folder with train and val; 30% of train are validation, val is the test. The same is done with the digits and
their defaults, and with label smoothing, after which a model is less sure than it is right. The temperature is fitted
on validation outputs, the error is that of the test images, which chose neither epoch nor temperature. "Expected of
noise" is the error that these test images would show of themselves, were each probability exactly right: the mean over
labels that are drawn from the calibrated probabilities. No error can be expected to fall below it.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np
from arguments import at_least, train_val_folder

from tlkeras.evaluation.calibration import choose_calibration, expected_calibration_error, log_losses
from tlkeras.run.predictions import load_predictions

TRAIN = Path(__file__).parents[1] / "scripts" / "train.py"
DRAWS = 200
COLUMNS = ("ECE before", "ECE after", "expected of noise", "log loss before", "log loss after")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=train_val_folder, help="folder with train and val")
    parser.add_argument("--weights", required=True, help="weights of MobileNetV2, no top")
    parser.add_argument("--seeds", type=at_least(1), default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        photos.mkdir()
        (photos / "train").symlink_to((options.data / "train").resolve())
        (photos / "test").symlink_to((options.data / "val").resolve())
        given = ["--data", photos, "--weights", options.weights, "--validation-split", 0.3]
        digits = ["--config", TRAIN.parents[1] / "configs" / "digits.yaml"]
        for title, arguments in {
            "photographs": given,
            "photographs, label smoothing 0.1": [*given, "--label-smoothing", 0.1],
            "digits": digits,
            "digits, label smoothing 0.1": [*digits, "--label-smoothing", 0.1],
        }.items():
            rows = []
            for seed in range(options.seeds):
                run = Path(folder, f"run-{title}-{seed}")
                execute(*arguments, "--seed", seed, "--calibration", "none", "--run-dir", run)
                rows.append(measure(run))
                print(f"{title}, seed {seed}: " + ", ".join(f"{value:.4f}" for value in rows[-1]), flush=True)
            calibrated = sum(row[0] != row[1] for row in rows)
            print(f"{title}: calibrated {calibrated} of {len(rows)}")
            for name, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
                print(f"    {name}: {median(values):.4f} ({min(values):.4f}–{max(values):.4f})")


def execute(*arguments: object) -> None:
    """Run scripts/train.py to its end, or stop with what it said."""
    done = subprocess.run([sys.executable, TRAIN, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{TRAIN} failed:\n{done.stdout}{done.stderr}")


def measure(run: Path) -> tuple[float, ...]:
    """Return the columns for one run that was not calibrated."""
    kept = load_predictions(run)
    validation, test = kept.of("validation"), kept.of("test")
    calibration, _ = choose_calibration(validation.outputs, validation.targets, "single_label")
    after = test.outputs if calibration is None else calibration.apply(test.outputs)
    rng, classes, drawn = np.random.default_rng(0), np.eye(after.shape[1]), []
    for _ in range(DRAWS):
        labels = (rng.random((len(after), 1)) > after.cumsum(axis=1)).sum(axis=1).clip(0, len(classes) - 1)
        drawn.append(expected_calibration_error(after, classes[labels], "single_label"))
    errors = [expected_calibration_error(outputs, test.targets, "single_label") for outputs in (test.outputs, after)]
    losses = [log_losses(outputs, test.targets, "single_label").mean() for outputs in (test.outputs, after)]
    return *errors, float(np.mean(drawn)), *map(float, losses)


if __name__ == "__main__":
    main()
