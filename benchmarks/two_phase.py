"""Seconds of both phases: tlkeras against the plain loop of the Keras guide, and against a lower bound.

    python benchmarks/two_phase.py DATA --weights FOLDER

DATA is a folder with train and val. Plain loop, tlkeras and lower bound run one after the other, each in a fresh
process, for each backbone at its own size, with weights of FOLDER where it has them and random ones elsewhere. Without
augmentation, the default, all do the same work; with it the plain loop augments in every epoch, and tlkeras computes
four views.

`--quick` is a guard that takes about a minute: MobileNetV2, tlkeras and its lower bound only, and their ratio with the
range that was measured before.

`--whole` times whole commands instead, from start to end: the plain loop's, which trains and prints an accuracy, and
`train.py` with its defaults and ten epochs per phase, which also evaluates, saves and reports.

Counted are, without `--whole`, the reading of the images and the building of graphs; not the start of Python and
TensorFlow. The lower bound is one pass of the images through the frozen backbone, and ten epochs of forward and
backward passes through the unfrozen part, with the forward passes of validation, all in memory and after a warm-up.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from arguments import at_least, train_val_folder

from tlkeras.backbones.registry import get_backbone_spec

HERE = Path(__file__).parent
# About those of MobileNetV2 in README.md, with a margin.
BEFORE = {"phase 1": (1.8, 2.4), "phase 2": (1.1, 1.4), "both": (1.3, 1.6)}
BACKBONES = ["VGG16", "ResNet50", "MobileNetV2", "InceptionV3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=train_val_folder, help="folder with train and val")
    parser.add_argument("--weights", type=Path, help="folder of weight files named as Keras names them")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--augmentation", action="store_true")
    parser.add_argument(
        "--repeats", type=at_least(1), default=1, help="rounds; medians are printed, and the range of ratios"
    )
    parser.add_argument("--engine", default="tensorflow", help="what computes the features in tlkeras and in the bound")
    parser.add_argument("--quick", action="store_true", help="compare tlkeras with what it was")
    parser.add_argument("--whole", action="store_true", help="time whole commands")
    options = parser.parse_args()
    if options.quick:
        quick(options)
        return
    if options.whole:
        whole(options)
        return
    titles = ("plain s", "tlkeras s", "ratio", "range", "bound s", "to bound")
    print(f"{'backbone':<12} {'':>8}" + "".join(f" {title:>9}" for title in titles))
    for backbone in options.backbones:
        rounds = [one_round(options, backbone) for _ in range(options.repeats)]
        for phase in ("phase 1", "phase 2", "both"):
            print_row(backbone, phase, [[seconds_of(one, phase) for one in three] for three in rounds])


def quick(options: argparse.Namespace) -> None:
    """Print how far MobileNetV2 is from its lower bound, and say where that is beyond what was measured before."""
    rounds = [one_round(options, "MobileNetV2")[1:] for _ in range(options.repeats)]
    for phase, (low, high) in BEFORE.items():
        ours = median(seconds_of(two[0], phase) for two in rounds)
        ratios = [seconds_of(two[0], phase) / seconds_of(two[1], phase) for two in rounds]
        ratio, spread = median(ratios), f"{min(ratios):.2f}–{max(ratios):.2f}"
        change = "slower than" if ratio > high else "faster than" if ratio < low else "as"
        print(f"{phase}: {ours:.1f} s, {ratio:.2f} ({spread}) times the bound; {change} before ({low}–{high})")


def whole(options: argparse.Namespace) -> None:
    """Print the seconds of whole commands, the plain loop's and ours in turn, median and range of the rounds."""
    print(f"{'backbone':<12} {'plain Keras loop, s':>22} {'tlkeras, s':>18} {'plain / tlkeras':>18}  epochs of tlkeras")
    for backbone in options.backbones:
        rounds, epochs = [], []
        with tempfile.TemporaryDirectory() as folder:
            weights = weights_of(options.weights, backbone) or random_weights(backbone, Path(folder))
            common = ["--backbone", backbone, "--weights", weights]
            plain = [HERE / "plain_keras.py", options.data, *common]
            ours = [HERE.parent / "scripts/train.py", "--data", options.data, *common, "--finetune-epochs", 10]
            ours += ["--cache-gb", 0, "--run-dir", f"{folder}/run", "--overwrite"]
            if not options.augmentation:
                plain.append("--no-augmentation")
                ours += ["--flip", "none", "--min-crop-area", 1, "--color-jitter", 0]
            for _ in range(options.repeats):
                rounds.append([seconds_to_run(plain), seconds_to_run(ours)])
                epochs.append(len(Path(folder, "run", "history.csv").read_text().splitlines()) - 1)
        columns = [*zip(*rounds, strict=True), [one / other for one, other in rounds]]
        cells = [f"{median(values):.1f} ({min(values):.1f}–{max(values):.1f})" for values in columns]
        print(f"{backbone:<12} {cells[0]:>22} {cells[1]:>18} {cells[2]:>18}  {sorted(set(epochs))}", flush=True)


def random_weights(backbone: str, folder: Path) -> Path:
    """Write random weights to a file, which `train.py` takes for pretrained ones: it would train all of `none`."""
    file, spec = folder / f"{backbone}.weights.h5", get_backbone_spec(backbone)
    build = f"keras.applications.{spec.constructor}(include_top=False, weights=None, **{spec.constructor_args})"
    finish(["-c", f"import keras; {build}.save_weights('{file}')"])
    return file


def seconds_to_run(command: list) -> float:
    """Return the seconds of a Python program, its start included."""
    start = time.perf_counter()
    finish(command)
    return time.perf_counter() - start


def one_round(options: argparse.Namespace, backbone: str) -> list[dict]:
    """Return the seconds of each phase for plain loop, unless it is to be quick, tlkeras and lower bound."""
    common = [options.data, "--backbone", backbone]
    if weights := weights_of(options.weights, backbone):
        common += ["--weights", weights]
    plain = [] if options.augmentation else ["--no-augmentation"]
    return [
        {} if options.quick else execute("plain_keras.py", *common, *plain),
        execute("cached_phases.py", *common, "--engine", options.engine, *plain),
        execute("cached_phases.py", *common, "--engine", options.engine, *plain, "--lower-bound"),
    ]


def weights_of(folder: Path | None, backbone: str) -> Path | None:
    """Return the backbone's weight file without top, where the folder has it."""
    prefix = {"MobileNetV2": "mobilenet_v2_1.0_"}.get(backbone, f"{backbone.lower()}_")
    found = sorted(folder.glob(f"{prefix}*no*top*")) if folder else []
    return found[0] if found else None


def seconds_of(result: dict, phase: str) -> float:
    """Return the seconds of one phase, or of both."""
    seconds = {"phase 1": result["seconds"]["frozen"], "phase 2": result["seconds"]["finetune"]}
    return seconds.get(phase) or sum(seconds.values())


def print_row(backbone: str, phase: str, rounds: list[list[float]]) -> None:
    """Print medians over the rounds, and the range of the ratio."""
    plain, ours, bound = (median(column) for column in zip(*rounds, strict=True))
    ratios = [one[0] / one[1] for one in rounds]
    spread = f"{min(ratios):.1f}–{max(ratios):.1f}"
    cells = [f"{plain:.1f}", f"{ours:.1f}", f"{plain / ours:.1f}", spread, f"{bound:.1f}", f"{ours / bound:.2f}"]
    name = backbone if phase == "phase 1" else ""
    print(f"{name:<12} {phase:>8}" + "".join(f" {cell:>9}" for cell in cells), flush=True)


def execute(script: str, *arguments: object) -> dict:
    """Run a program of this folder; return what it prints as its last line."""
    return json.loads(finish([HERE / script, *arguments]).splitlines()[-1])


def finish(command: list) -> str:
    """Run a Python program; return what it prints.

    Raises:
        SystemExit: it failed.
    """
    done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    main()
