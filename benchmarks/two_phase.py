"""Seconds of both phases: tlkeras against the plain loop of the Keras guide, and against the least that is possible.

    python benchmarks/two_phase.py DATA --weights FOLDER

DATA is a folder with train and val. Plain loop, tlkeras and floor run one after the other, each in a fresh process, for
each backbone at its own size, with weights of FOLDER where it has them and random ones elsewhere. Without augmentation,
the default, all do the same work; with it the plain loop augments in every epoch, and tlkeras computes four views.

Counted are, in both, the reading of the pictures and the building of graphs; not the start of Python and TensorFlow.
The floor is one pass of the pictures through the frozen backbone, and ten epochs of forward and backward passes through
the unfrozen part, with the forward passes of validation, all in memory and after a warm-up.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
BACKBONES = ["VGG16", "ResNet50", "MobileNetV2", "InceptionV3"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train and val")
    parser.add_argument("--weights", type=Path, help="folder of weight files named as Keras names them")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--augmentation", action="store_true")
    parser.add_argument("--repeats", type=int, default=1, help="rounds; medians are printed, and the range of ratios")
    parser.add_argument("--engine", default="tensorflow", help="what computes the features in tlkeras and in the floor")
    options = parser.parse_args()
    titles = ("plain s", "tlkeras s", "ratio", "range", "floor s", "to floor")
    print(f"{'backbone':<12} {'':>8}" + "".join(f" {title:>9}" for title in titles))
    for backbone in options.backbones:
        rounds = [one_round(options, backbone) for _ in range(options.repeats)]
        for phase in ("phase 1", "phase 2", "both"):
            print_row(backbone, phase, [[seconds_of(one, phase) for one in three] for three in rounds])


def one_round(options: argparse.Namespace, backbone: str) -> list[dict]:
    """Seconds of each phase for plain loop, tlkeras and floor."""
    common = [options.data, "--backbone", backbone]
    if weights := weights_of(options.weights, backbone):
        common += ["--weights", weights]
    plain = [] if options.augmentation else ["--no-augmentation"]
    return [
        execute("plain_keras.py", *common, *plain),
        execute("cached_phases.py", *common, "--engine", options.engine, *plain),
        execute("cached_phases.py", *common, "--engine", options.engine, *plain, "--floor"),
    ]


def weights_of(folder: Path | None, backbone: str) -> Path | None:
    """The backbone's weight file without top, where the folder has it."""
    prefix = {"MobileNetV2": "mobilenet_v2_1.0_"}.get(backbone, f"{backbone.lower()}_")
    found = sorted(folder.glob(f"{prefix}*no*top*")) if folder else []
    return found[0] if found else None


def seconds_of(figures: dict, phase: str) -> float:
    """Seconds of one phase, or of both."""
    seconds = {"phase 1": figures["seconds"]["frozen"], "phase 2": figures["seconds"]["finetune"]}
    return seconds.get(phase) or sum(seconds.values())


def print_row(backbone: str, phase: str, rounds: list[list[float]]) -> None:
    """Medians over the rounds, and the range of the ratio."""
    plain, ours, floor = (median(column) for column in zip(*rounds, strict=True))
    ratios = [one[0] / one[1] for one in rounds]
    spread = f"{min(ratios):.1f}–{max(ratios):.1f}"
    cells = [f"{plain:.1f}", f"{ours:.1f}", f"{plain / ours:.1f}", spread, f"{floor:.1f}", f"{ours / floor:.2f}"]
    name = backbone if phase == "phase 1" else ""
    print(f"{name:<12} {phase:>8}" + "".join(f" {cell:>9}" for cell in cells), flush=True)


def execute(script: str, *arguments: object) -> dict:
    """What a program of this folder prints as its last line."""
    done = subprocess.run([sys.executable, HERE / script, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{script} failed:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
