"""How often are shifts of the data found, and how often is one reported where there is none?

    python benchmarks/drift.py RUN

RUN is the folder of a run with a test split. Its validation and test images are put together, as is and blurred or
with another brightness. For each seed they are divided at random: half of them are the reference, others, as many as
each size says, are the new images. Printed is the fraction of seeds in which `drift.py` says "moved": of 20 seeds for
the shifts, of 1,000 for none, and in how many by the features and by the predictions; then how the two-sample test does
on other features: random projections, or all; and with Kolmogorov and Smirnov's test of each projection (Bonferroni).
"""

import argparse
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from scipy.stats import ks_2samp

from tlkeras.data.loading import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.data.splits import load_split
from tlkeras.evaluation.drift import mmd_test, psi_test
from tlkeras.evaluation.reference import fit_reference
from tlkeras.run.drift import ALPHA
from tlkeras.run.evaluate import training_data
from tlkeras.run.load_run import Run, load_run
from tlkeras.run.predictor import load_predictor

SIZES = (20, 50, 100)
SEEDS, SEEDS_OF_NONE = 20, 1000
SHIFTS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "none": lambda image: image,
    "blur, 0.5 px": lambda image: image.filter(ImageFilter.GaussianBlur(0.5)),
    "blur, 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "blur, 2 px": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "brightness × 0.5": lambda image: ImageEnhance.Brightness(image).enhance(0.5),
    "brightness × 0.75": lambda image: ImageEnhance.Brightness(image).enhance(0.75),
    "brightness × 1.5": lambda image: ImageEnhance.Brightness(image).enhance(1.5),
}
MIXES = {"80% of one class": 0.8, "65% of one class": 0.65}  # the images as they are
Given = tuple[np.ndarray, np.ndarray]  # features (N, C) and outputs (N, K)
Project = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=load_run, metavar="RUN", help="folder that scripts/train.py wrote")
    run = parser.parse_args().run
    training, labels, shifted = predict_all(run)
    project = fit_reference(training, *shifted["none"], np.zeros(len(labels), bool), run.task).project
    print(f"{len(labels)} images, {len(labels) // 2} of them the reference; {', '.join(map(str, SIZES))} new ones")
    for name in [*SHIFTS, *MIXES]:
        new, found = shifted.get(name, shifted["none"]), {}
        for seed in range(SEEDS_OF_NONE if name == "none" else SEEDS):
            for size in SIZES:
                old_rows, new_rows = divide(labels, size, seed, MIXES.get(name))
                found.setdefault(size, []).append(moved(project, shifted["none"], new, old_rows, new_rows))
        text = " ".join(" ".join(f"{value:.3f}" for value in np.mean(found[size], axis=0)) + " |" for size in SIZES)
        print(f"{name:<20} moved, features, predictions: {text}", flush=True)
    compare_tests(project, labels, shifted)


def predict_all(run: Run) -> tuple[np.ndarray, np.ndarray, dict[str, Given]]:
    """Return features of training images, labels of validation and test images, and what is given for each shift."""
    predictor = load_predictor(run)
    examples = find_examples(training_data(run), run.task).examples
    rows = load_split(run.path / "split.csv", examples)
    training, held_out = ([examples[row] for name in names for row in rows[name]]
                          for names in (["train"], ["validation", "test"]))  # fmt: skip
    pixels = decode_all(held_out, run.modality, 1.0).inputs[:]
    shifted = {}
    for name, change in SHIFTS.items():
        changed = np.stack([np.asarray(change(Image.fromarray(image))) for image in pixels])
        shifted[name] = tuple(reversed(predictor.outputs(changed)))
    labels = np.array([run.classes.index(example.label) for example in held_out])
    return predictor.outputs(decode_all(training, run.modality, 1.0).inputs[:])[1], labels, shifted


def divide(labels: np.ndarray, size: int, seed: int, fraction: float | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of a reference and of so many other images, of which a fraction is of the first class."""
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    old, rest = np.split(shuffled, [len(labels) // 2])
    if fraction is None:
        return old, rest[:size]
    first, others = rest[labels[rest] == 0], rest[labels[rest] != 0]
    wanted = round(fraction * size)
    return old, np.r_[rng.choice(first, wanted, wanted > len(first)), others[: size - wanted]]  # again where too few


def moved(project: Project, given: Given, new: Given, old_rows: np.ndarray, new_rows: np.ndarray) -> list[bool]:
    """Return whether anything has moved, features have, and predictions have."""
    rng = np.random.default_rng(0)
    _, p_features = mmd_test(project(given[0][old_rows]), project(new[0][new_rows]), rng)
    width = given[1].shape[1]
    counts = (
        np.bincount(outputs.argmax(axis=1), minlength=width) for outputs in (given[1][old_rows], new[1][new_rows])
    )
    both = [p_features <= ALPHA / 2, psi_test(*counts, rng) <= ALPHA / 2]
    return [any(both), *both]


def compare_tests(axes: Project, labels: np.ndarray, shifted: dict[str, Given]) -> None:
    """Print the power of several tests of features at 50 images, each alone at the 5 % level."""
    random = np.random.default_rng(0).normal(size=(shifted["none"][0].shape[1], 64)).astype("float32")
    tests = {
        "64 axes of training, MMD": lambda old, new: mmd_test(axes(old), axes(new), np.random.default_rng(0))[1],
        "64 axes of training, Kolmogorov–Smirnov": lambda old, new: smirnov(axes(old), axes(new)),
        "64 random projections, MMD": lambda old, new: mmd_test(old @ random, new @ random, np.random.default_rng(0))[
            1
        ],
        "64 random projections, Kolmogorov–Smirnov": lambda old, new: smirnov(old @ random, new @ random),
        "all features, MMD": lambda old, new: mmd_test(old, new, np.random.default_rng(0))[1],
    }
    for title, test in tests.items():
        fractions = []
        for name in [*SHIFTS, *MIXES]:
            found = []
            for seed in range(SEEDS):
                old, new = divide(labels, 50, seed, MIXES.get(name))
                found.append(test(shifted["none"][0][old], shifted.get(name, shifted["none"])[0][new]) <= ALPHA)
            fractions.append(f"{name} {np.mean(found):.2f}")
        print(f"{title}: {', '.join(fractions)}", flush=True)


def smirnov(old: np.ndarray, new: np.ndarray) -> float:
    """Return the lowest p-value of the tests of single columns, times their number."""
    return old.shape[1] * min(ks_2samp(*pair).pvalue for pair in zip(old.T, new.T, strict=True))


if __name__ == "__main__":
    main()
