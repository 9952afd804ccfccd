"""Plant faults in copies of a data set, and count what scripts/check_data.py finds, misses and finds wrongly.

    python benchmarks/data_check.py DATA --weights FILE [--seeds N] [--published FOLDER]

DATA has the folders train and val. In addition, the score of a label is compared with what is published at
github.com/cleanlab/label-error-detection-benchmarks, where FOLDER is its src/experiments.
"""

import argparse
import shutil
import tempfile
from collections import defaultdict
from io import BytesIO
from pathlib import Path

import numpy as np
from arguments import at_least, train_val_folder
from PIL import Image, ImageEnhance
from sklearn.metrics import roc_auc_score

from tlkeras.data.file_check import look_at_all
from tlkeras.data.sources import find_examples
from tlkeras.evaluation.cross_validation import out_of_fold_probabilities
from tlkeras.evaluation.label_errors import self_confidence
from tlkeras.run.check_data import check_data, compute_features

EACH = 10  # faults of each kind
WRONG = 0.05  # fraction of labels
TOP = 0.1  # of the ranking


def main() -> None:
    """Print what was found, over all seeds, and with --published the areas under ROC."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=train_val_folder, metavar="DATA")
    parser.add_argument("--weights", default="imagenet", metavar="FILE", help="of MobileNetV2")
    parser.add_argument("--seeds", type=at_least(1), default=5, metavar="N")
    parser.add_argument("--published", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.published:
        print_published(options.published)
    results: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
    for seed in range(options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            for kind, counts in one_seed(options.data, Path(folder) / "images", options.weights, seed).items():
                results[kind].append(counts)
    print("| fault | planted | found | missed | false alarms | found per seed |\n|---|---|---|---|---|---|")
    for kind, counts in results.items():
        planted, found, false = np.sum(counts, axis=0)
        per_seed = ", ".join(str(hits) for _, hits, _ in counts)
        print(f"| {kind} | {planted} | {found} ({found / planted:.1%}) | {planted - found} | {false} | {per_seed} |")


def one_seed(data: Path, root: Path, weights: str, seed: int) -> dict[str, tuple[int, int, int]]:
    """Return for each kind of fault how many were planted, found, and found where there are none."""
    shutil.copytree(data, root, copy_function=shutil.copyfile)
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    planted = plant(root, np.random.default_rng(seed))
    checked = check_data(str(root), True, "MobileNetV2", weights)
    found: dict[str, set[str]] = defaultdict(set)
    for finding in checked.findings:
        found[finding.kind].update(finding.paths)
    exact = found["duplicates"] | found["duplicates_in_splits"] | found["duplicates_in_classes"]
    leaks = found["duplicates_in_splits"]
    near = found["near_duplicates"] | found["near_duplicates_in_splits"] | found["near_duplicates_in_classes"]
    counted = {
        "cut file": count(planted["cut"], found["unreadable"]),
        "exact duplicate": count(planted["copy"], exact, planted["leak"]),
        "exact duplicate in another split": count(planted["leak"], leaks),
    }
    similar = {kind: planted[kind] for kind in ("crop", "JPEG quality", "brightness")}
    for kind, names in similar.items():
        others = set().union(*(more for other, more in similar.items() if other != kind))
        counted[f"near duplicate: {kind}"] = count(names, near, others)
    ranking = rank(root, weights)
    top = set(ranking[: round(TOP * len(ranking))])
    wrong = planted["label"]
    counted[f"wrong label, in the first {TOP:.0%} of the ranking"] = len(wrong), len(wrong & top), len(top - wrong)
    counted["wrong label, reported"] = count(wrong, found["label_errors"])
    return counted


def count(planted: set[str], found: set[str], allowed: set[str] = frozenset()) -> tuple[int, int, int]:
    """Return how many names were planted, found, and found though they were not planted; originals have a ="""
    names = {name for pair in planted for name in pair.split(" = ")}
    fine = names | {name for pair in allowed for name in pair.split(" = ")}
    return len(planted), sum(pair.split(" = ")[-1] in found for pair in planted), len(found - fine)


def plant(root: Path, rng: np.random.Generator) -> dict[str, set[str]]:
    """Write faults into a folder; return for each kind the names, or "original = copy"."""
    files = rng.permutation(sorted(root.rglob("*.jpg"))).tolist()
    planted: dict[str, set[str]] = defaultdict(set)
    for _ in range(round(WRONG * len(files))):
        path = files.pop()
        other = next(folder for folder in path.parent.parent.iterdir() if folder != path.parent)
        moved = path.rename(other / f"moved-{path.name}")
        planted["label"].add(moved.relative_to(root).as_posix())
    for _ in range(EACH):
        path = files.pop()
        content = path.read_bytes()
        path.write_bytes(content[: int(rng.uniform(0.3, 0.95) * len(content))])
        planted["cut"].add(path.relative_to(root).as_posix())
    for kind in ("copy", "leak", "crop", "JPEG quality", "brightness"):
        for _ in range(EACH):
            path = files.pop()
            split = path.parent.parent.name
            split = {"train": "val", "val": "train"}[split] if kind == "leak" else split
            copy = root / split / path.parent.name / f"copy-{path.name}"
            copy.write_bytes(changed(path, kind, rng))
            planted[kind].add(f"{path.relative_to(root).as_posix()} = {copy.relative_to(root).as_posix()}")
    return planted


def changed(path: Path, kind: str, rng: np.random.Generator) -> bytes:
    """Return the content of an image file, or a JPEG of a version of it."""
    if kind in ("copy", "leak"):
        return path.read_bytes()
    with Image.open(path) as file:
        image = file.convert("RGB")
    quality = 90
    if kind == "crop":  # 80 to 97 percent of each side
        side = rng.uniform(0.8, 0.97)
        left, top = rng.uniform(0, 1 - side, 2)
        size = np.array([*image.size, *image.size])
        image = image.crop(tuple((size * [left, top, left + side, top + side]).astype(int)))
    elif kind == "JPEG quality":
        quality = int(rng.integers(15, 60))
    else:
        image = ImageEnhance.Brightness(image).enhance(rng.choice([rng.uniform(0.5, 0.9), rng.uniform(1.1, 1.5)]))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def rank(root: Path, weights: str) -> list[str]:
    """Return the names of all images that can be read, the least probable label first."""
    listing = find_examples(str(root), training=False)
    looks = look_at_all(listing.examples)
    examples = [example for example, look in zip(listing.examples, looks, strict=True) if not look.reason]
    features = compute_features(listing, examples, "MobileNetV2", weights)  # which the check has left in the cache
    labels = np.array([listing.classes.index(str(example.label)) for example in examples])
    scores = self_confidence(out_of_fold_probabilities(features, labels, np.arange(len(labels))), labels)
    return [examples[row].name for row in np.argsort(scores, kind="stable")]


def print_published(folder: Path) -> None:
    """Print the area under ROC of the label score for each published set of out-of-fold probabilities."""
    print("| published probabilities | area under ROC |\n|---|---|")
    for path in sorted(folder.glob("cifar-10*/*/pred_probs.npy")):
        probabilities, given, true = (
            np.load(path.with_name(f"{name}.npy")) for name in ("pred_probs", "noisy_labels", "true_labels")
        )
        scores = self_confidence(probabilities, given.astype(int))
        print(f"| {path.parent.parent.name}, {path.parent.name.rpartition('_cv_')[2]} | "
              f"{roc_auc_score(given != true, -scores):.4f} |")  # fmt: skip


if __name__ == "__main__":
    main()
