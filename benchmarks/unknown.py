"""Images of none of the classes: told from known ones by confidence, or by distance in feature space?

    python benchmarks/unknown.py RUN... --unknown DATA

RUN is the folder of a run, DATA what `--data` takes: images of anything else. Known are the test images of each run.
Printed is the area under the ROC curve of known against unknown images, 0.5 where they are not told apart, of

    confidence    probability of the top class
    nearest       cosine of the pooled features to the 5th nearest training image (Sun et al. 2022, arXiv:2204.06507)
    mahalanobis   distance to the nearest class mean, under one covariance (Lee et al. 2018, arXiv:1807.03888)
    known         the same with few axes, as the run keeps it

and the fraction of known and of unknown images that `known` calls unsure at the run's own threshold.
"""

import argparse
from statistics import median

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score

from tlkeras.data.loading import decode_all
from tlkeras.data.sources import find_examples
from tlkeras.data.splits import load_split
from tlkeras.evaluation.known import fit_known
from tlkeras.run.evaluate import training_data
from tlkeras.run.load_run import Run, load_model, load_run
from tlkeras.runtime import load_tensorflow

NEIGHBORS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=load_run, metavar="RUN", help="folder that scripts/train.py wrote")
    parser.add_argument("--unknown", required=True, metavar="DATA", help="images of none of the run's classes")
    options = parser.parse_args()
    load_tensorflow()
    found: dict[str, list[float]] = {}
    for run in options.runs:
        areas = compare(run, options.unknown)
        print(f"{run.path.name}: " + ", ".join(f"{name} {area:.3f}" for name, area in areas.items()), flush=True)
        for name, area in areas.items():
            found.setdefault(name, []).append(area)
    for name, values in found.items():
        print(f"{name:<12} median {median(values):.3f} ({min(values):.3f}–{max(values):.3f}), {len(values)} runs")


def compare(run: Run, unknown: str) -> dict[str, float]:
    """Return the area under the ROC curve of each score, and what is unsure."""
    import keras

    model = load_model(run.path / "model.keras")
    both = keras.Model(model.input, [model.get_layer("pool").output, model.output])
    examples = find_examples(training_data(run), run.task).examples
    rows = load_split(run.path / "split.csv", examples)
    known = {name: [examples[row] for row in rows[name]] for name in ("train", "validation", "test")}
    others = find_examples(unknown, training=False).examples
    features, outputs = {}, {}
    for name, chosen in (known | {"unknown": others}).items():
        inputs = decode_all(chosen, run.modality, 1.0).inputs
        parts = [both.predict_on_batch(inputs[start : start + 32]) for start in range(0, len(inputs), 32)]
        features[name], outputs[name] = (np.concatenate(values) for values in zip(*parts, strict=True))
    labels = np.array([run.classes.index(example.label) for example in known["train"]])
    targets = np.eye(len(run.classes))[labels]
    known_features = fit_known(features["train"], targets, features["validation"])
    scores = {
        "confidence": lambda name: outputs[name].max(axis=1),
        "nearest": lambda name: nearest(features[name], features["train"]),
        "mahalanobis": mahalanobis(features, labels),
        "known": lambda name: -known_features.distances(features[name]),
    }
    is_known = np.repeat([1, 0], [len(features["test"]), len(features["unknown"])])
    areas = {name: float(roc_auc_score(is_known, np.r_[of("test"), of("unknown")])) for name, of in scores.items()}
    far = {name: known_features.distances(features[name]) > known_features.threshold for name in ("test", "unknown")}
    return areas | {f"unsure of {name}": float(values.mean()) for name, values in far.items()}


def nearest(features: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Return the cosine of each row `(N, C)` to its 5th nearest training row."""
    unit, trained = (rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12) for rows in (features, training))
    return np.partition(unit @ trained.T, -NEIGHBORS, axis=1)[:, -NEIGHBORS]


def mahalanobis(features: dict[str, np.ndarray], labels: np.ndarray):
    """Return a function from the name of a split to its negative distances to the nearest class `(N,)`."""
    training = features["train"]
    means = np.stack([training[labels == label].mean(axis=0) for label in np.unique(labels)])
    precision = LedoitWolf(assume_centered=True).fit(training - means[labels]).precision_

    def score(name: str) -> np.ndarray:
        away = features[name][:, None] - means
        return -np.einsum("nkc,cd,nkd->nk", away, precision, away, optimize=True).min(axis=1)

    return score


if __name__ == "__main__":
    main()
