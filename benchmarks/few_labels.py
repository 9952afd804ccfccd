"""The head of phase 1 with few labels: a linear probe against a trained head, on the same features.

    python benchmarks/few_labels.py DATA... --weights FILE

DATA is what `--data` takes. Features of all images are computed once. Of each class as many images are drawn as
`--sizes` says, 15% of them, at least one, for validation; up to 1,500 of the others are the test.

    probe      `--linear-probe always`
    trained    `--linear-probe never`: ten epochs, the one with the lowest validation loss
    centroid   the nearest class mean
    logistic   logistic regression without views, C by cross-validation, on training and validation images

Printed are median and range of the test accuracy over the draws, and the seconds of the median.
"""

import argparse
import contextlib
import io
import logging
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np
from arguments import at_least

from tlkeras.config.data import DataOptions
from tlkeras.config.extensions import Extensions
from tlkeras.config.train import TrainingOptions
from tlkeras.data.prepare import prepare_data
from tlkeras.runtime import load_tensorflow

WAYS = ("probe", "trained", "centroid", "logistic")
MOST_TEST = 1500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="digits, or folders of images")
    parser.add_argument("--sizes", type=at_least(2), nargs="+", default=[3, 10, 20, 60], help="images of a class")
    parser.add_argument("--draws", type=at_least(1), default=5)
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--image-size", type=at_least(32), default=128)
    options = parser.parse_args()
    load_tensorflow(0)
    warnings.simplefilter("ignore")  # of scikit-learn, on what will change, and on fits that are stopped
    logging.getLogger("tlkeras").setLevel(logging.ERROR)
    print(f"| set | a class | test | {' | '.join(WAYS)} |\n|{'---|' * (3 + len(WAYS))}")
    for given in options.data:
        heads = Heads(given, options)
        for size in options.sizes:
            found = [heads.run(size, draw) for draw in range(options.draws)]
            cells = []
            for way in WAYS:
                values, seconds = zip(*(one[way] for one in found), strict=True)
                spread = f"{min(values):.3f}–{max(values):.3f}; {median(seconds):.1f} s"
                cells.append(f"{median(values):.3f} ({spread})")
            print(f"| {Path(given).name} | {size} | {heads.tested:,} | {' | '.join(cells)} |", flush=True)


class Heads:
    """The features of one dataset, and a model whose head is fitted to some of them again and again."""

    def __init__(self, given: str, options: argparse.Namespace) -> None:
        from tlkeras.data.pipeline import SplitData, make_targets
        from tlkeras.features.engines import make_engine
        from tlkeras.features.extract import ExtractionJob
        from tlkeras.features.split_model import split_model
        from tlkeras.models.builders import build_classifier

        data = prepare_data(DataOptions(data=given), options.backbone, options.image_size)
        self.targets = make_targets(data.examples, data.task, data.classes)
        self.labels, self.tested = self.targets.argmax(axis=1), 0
        self.options = TrainingOptions(flip="none" if given == "digits" else "horizontal", unfreeze="none")
        self.options = self.options.with_defaults("none")
        self.model = build_classifier(
            options.backbone, len(data.classes), weights=options.weights, image_size=options.image_size
        )
        parts = split_model(self.model, 0)
        self.head, engine = parts.head, make_engine(parts.below, "tensorflow")
        whole = SplitData(data.inputs, np.arange(len(self.labels)), self.targets)
        self.arrays = []
        for augmented in (True, False):
            job = ExtractionJob(whole, self.options, augmented)
            (shape,) = job.shapes(parts.below)
            self.arrays.append(np.empty(shape, "float32"))
            job.fill(engine, self.arrays[-1:])

    def run(self, size: int, draw: int) -> dict[str, tuple[float, float]]:
        """Return test accuracy and seconds of each way on one draw."""
        from sklearn.linear_model import LogisticRegressionCV
        from sklearn.neighbors import NearestCentroid
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        train, validation, test = self.draw(size, np.random.default_rng(draw))
        views, plain = self.arrays[0].reshape(self.options.views, len(self.labels), -1), self.arrays[1]
        self.tested, both = len(test), np.concatenate([train, validation])
        folds = max(2, min(5, size))
        logistic = LogisticRegressionCV(Cs=np.logspace(-5, 1, 7), cv=folds, scoring="neg_log_loss", max_iter=300)
        fits = {
            "centroid": lambda: NearestCentroid().fit(
                views[:, train].reshape(-1, views.shape[2]), np.tile(self.labels[train], len(views))
            ),
            "logistic": lambda: make_pipeline(StandardScaler(), logistic).fit(plain[both], self.labels[both]),
        }
        found = {}
        for way in WAYS:
            start = time.perf_counter()
            with threadpool_limits(1):
                if way in fits:
                    accuracy = (fits[way]().predict(plain[test]) == self.labels[test]).mean()
                else:
                    outputs = self.fit(way, views[:, train], train, validation).predict_on_batch(plain[test])
                    accuracy = (outputs.argmax(axis=1) == self.labels[test]).mean()
            found[way] = float(accuracy), time.perf_counter() - start
        return found

    def draw(self, size: int, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return the indices of training, validation and test images."""
        parts: tuple[list[np.ndarray], ...] = ([], [], [])
        classes = self.targets.shape[1]
        for one in range(classes):
            rows = rng.permutation(np.flatnonzero(self.labels == one))
            count = min(size, int(0.7 * len(rows)))
            held_out = max(1, round(0.15 * count))
            for part, some in zip(parts, np.split(rows, [count - held_out, count]), strict=True):
                part.append(some[: MOST_TEST // classes] if part is parts[-1] else some)
        return tuple(np.concatenate(part) for part in parts)

    def fit(self, way: str, views: np.ndarray, train: np.ndarray, validation: np.ndarray):
        """Return the head after phase 1."""
        from tlkeras.features.extract import Features
        from tlkeras.training.linear_probe import fit_probe
        from tlkeras.training.phase import PhaseInputs
        from tlkeras.training.phase_inputs import cached_inputs
        from tlkeras.training.two_phase import TrainingResult, plan_phases, train_phase

        features = Features([views.reshape(-1, views.shape[2])], self.targets[train], len(views))
        held_out = Features([self.arrays[1][validation]], self.targets[validation], 1)
        whole = PhaseInputs(self.head, lambda **_: None, None, len(train), self.options.batch_size, "img/s")
        order = {"batch_size": self.options.batch_size, "seed": 0}
        inputs, result = cached_inputs(whole, self.head, [features, held_out], order), TrainingResult()
        output = self.model.get_layer("output")
        output.set_weights([np.zeros(weight.shape) for weight in output.weights])
        with contextlib.redirect_stdout(io.StringIO()):
            if way == "probe":
                fit_probe(self.model, inputs, self.options, Extensions(), result)
            else:
                (phase,) = plan_phases(self.model, self.options)
                train_phase(self.model, phase, {"frozen": inputs}, self.options, result, None, None, Extensions())
        return self.head


if __name__ == "__main__":
    main()
