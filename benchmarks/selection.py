"""Which epoch to keep: rules compared by the accuracy of what they choose on images that chose nothing.

    python benchmarks/selection.py DATA...

DATA is what `--data` takes. At each size and seed so many images are drawn, 15% of them for validation; all others are
the test. Phase 1 is trained once, phase 2 once from each epoch that a rule chooses in phase 1; a rule then chooses the
epoch of phase 2, or phase 1's where phase 2 is not better. A rule sees validation alone:

    val_accuracy           highest accuracy, then lowest loss
    val_loss               lowest loss
    val_loss, patience N   the same, where a phase ends after N epochs that are no better
    smoothed               lowest loss, as a mean with the epoch before and the one after
    one standard error     first epoch whose loss is within a standard error of the lowest
    last                   last epoch of phase 2

Printed are the median and the range of the test accuracy over the seeds, the mean difference to val_accuracy, and how
often a rule was better or worse than it with the same images and seed.
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, median

import numpy as np
from arguments import at_least

from tlkeras.config.data import DataOptions
from tlkeras.config.extensions import Extensions
from tlkeras.config.train import TrainingOptions
from tlkeras.data.prepare import PreparedData, prepare_data
from tlkeras.data.splits import split_examples
from tlkeras.runtime import load_tensorflow

VALIDATION = 0.15
MIN_SEEDS = 2  # with one there is no range
MIN_TEST = 50  # images
MIN_OF_CLASS = 4  # images, of which one is for validation
REFERENCE = "val_accuracy"


@dataclass
class Epochs:
    """What validation says of each epoch of one phase, and the weights after it."""

    accuracy: list[float]
    loss: list[float]
    error: list[float]  # standard error of the loss
    weights: list[list[np.ndarray]]


Rule = Callable[[Epochs], tuple[int, tuple[float, ...]]]  # epoch, and its score: higher is better


def by_accuracy(epochs: Epochs) -> tuple[int, tuple[float, ...]]:
    scores = list(zip(epochs.accuracy, [-loss for loss in epochs.loss], strict=True))
    best = scores.index(max(scores))
    return best, scores[best]


def by_loss(epochs: Epochs, patience: int = 10**6) -> tuple[int, tuple[float, ...]]:
    best = 0
    for epoch, loss in enumerate(epochs.loss):
        if loss < epochs.loss[best]:
            best = epoch
        elif epoch - best >= patience:
            break
    return best, (-epochs.loss[best],)


def smoothed(epochs: Epochs) -> tuple[int, tuple[float, ...]]:
    around = [mean(epochs.loss[max(epoch - 1, 0) : epoch + 2]) for epoch in range(len(epochs.loss))]
    best = int(np.argmin(around))
    return best, (-around[best],)


def one_standard_error(epochs: Epochs) -> tuple[int, tuple[float, ...]]:
    lowest = int(np.argmin(epochs.loss))
    bound = epochs.loss[lowest] + epochs.error[lowest]
    return next(epoch for epoch, loss in enumerate(epochs.loss) if loss <= bound), (-epochs.loss[lowest],)


def last(epochs: Epochs) -> tuple[int, tuple[float, ...]]:
    return len(epochs.loss) - 1, ()  # no score: phase 2 always counts


RULES: dict[str, Rule] = {
    REFERENCE: by_accuracy,
    "val_loss": by_loss,
    "val_loss, patience 5": lambda epochs: by_loss(epochs, 5),
    "val_loss, patience 3": lambda epochs: by_loss(epochs, 3),
    "smoothed": smoothed,
    "one standard error": one_standard_error,
    "last": last,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="digits, or folders of images")
    parser.add_argument("--sizes", type=at_least(20), nargs="+", default=[20, 60, 120, 300], help="images to draw")
    parser.add_argument("--seeds", type=at_least(MIN_SEEDS), default=10, help="draws of each size")
    parser.add_argument("--backbone", default="MobileNetV2-0.35")
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--image-size", type=at_least(32), default=96)
    options = parser.parse_args()
    load_tensorflow(0)
    everything: dict[str, list[float]] = {rule: [] for rule in RULES}
    for given in options.data:
        with contextlib.redirect_stdout(io.StringIO()):
            data = prepare_data(DataOptions(data=given), options.backbone, options.image_size)
        if max(options.sizes) > len(data.examples) - MIN_TEST:
            parser.error(f"{given} has {len(data.examples)} images; --sizes must leave {MIN_TEST} for the test")
        compare = Comparison(data, options, flip="none" if given == "digits" else "horizontal")
        name = Path(given).parent.name if Path(given).name == "test" else Path(given).name
        for size in options.sizes:
            if size < MIN_OF_CLASS * len(data.classes):
                print(f"\n{name}, {size} images: left out, fewer than {MIN_OF_CLASS} of each class")
                continue
            start = time.perf_counter()
            runs = [compare.run(size, seed) for seed in range(options.seeds)]
            print_table(f"{name}, {size} images", runs, time.perf_counter() - start)
            for rule in RULES:
                everything[rule] += [run[rule] for run in runs]
    runs = [dict(zip(RULES, values, strict=True)) for values in zip(*everything.values(), strict=True)]
    print_table("all", runs, 0.0)


class Comparison:
    """One dataset: model and compiled phases are made once, and put back to the start for each run."""

    def __init__(self, data: PreparedData, options: argparse.Namespace, flip: str) -> None:
        from tlkeras.data.pipeline import make_targets
        from tlkeras.features.engines import make_engine
        from tlkeras.features.extract import ExtractionJob
        from tlkeras.features.split_model import split_model
        from tlkeras.models.builders import build_classifier
        from tlkeras.models.freezing import first_trainable_index, set_trainable
        from tlkeras.models.introspect import default_unfreeze

        self.data, self.training = data, TrainingOptions(flip=flip, memory_gb=1e6, finetune_epochs=10)
        self.targets = make_targets(data.examples, data.task, data.classes)
        self.model = build_classifier(
            options.backbone, len(data.classes), weights=options.weights, image_size=options.image_size
        )
        self.training = self.training.with_defaults(default_unfreeze(self.model))
        self.parts = split_model(self.model, first_trainable_index(self.model, self.training.unfreeze))
        self.engine = make_engine(self.parts.below, "tensorflow")
        set_trainable(self.model, self.training.unfreeze)
        self.initial = [np.asarray(weight).copy() for weight in self.model.trainable_weights]
        everything = ExtractionJob(self.split(np.arange(len(data.examples))), self.training, False)
        self.features = self.extract(everything)

    def split(self, rows: np.ndarray):
        """Return the images of some rows with their targets."""
        from tlkeras.data.pipeline import SplitData

        return SplitData(self.data.inputs, rows, self.targets[rows])

    def extract(self, job) -> list[np.ndarray]:
        """Return what reaches the head and the first unfrozen layer, for each view of each image."""
        arrays = [np.empty(shape, "float32") for shape in job.shapes(self.parts.below)]
        job.fill(self.engine, arrays)
        return arrays

    def draw(self, size: int, seed: int) -> dict[str, np.ndarray]:
        """Return rows for training, validation and test; each class has as many of the drawn images as the others."""
        rng = np.random.default_rng([seed, size])
        ranks = np.empty(len(self.targets))
        for column in self.targets.T:  # the first image of each class, then the second of each, and so on
            rows = np.flatnonzero(column)
            ranks[rows] = rng.permutation(len(rows)) + rng.random(len(rows)) * 0.5
        order = np.argsort(ranks)
        drawn = order[:size]
        examples = [replace(self.data.examples[row], split=None) for row in drawn]  # not the source's own split
        chosen = split_examples(examples, "single_label", (VALIDATION, 0.0), seed)
        return {name: drawn[rows] for name, rows in chosen.items()} | {"test": order[size:]}

    def run(self, size: int, seed: int) -> dict[str, float]:
        """Return the test accuracy of what each rule keeps."""
        from tlkeras.features.extract import ExtractionJob

        rows = self.draw(size, seed)
        options = replace(self.training, seed=seed)
        views = self.extract(ExtractionJob(self.split(rows["train"]), options, True))
        frozen = self.train(self.parts.head, 0, self.initial, views, rows, options)
        tuned: dict[int, Epochs] = {}
        accuracy: dict[tuple[int, int], float] = {}
        kept = {}
        for name, rule in RULES.items():
            first, score = rule(frozen)
            if first not in tuned:
                tuned[first] = self.train(self.parts.upper, 1, frozen.weights[first], views, rows, options)
            second, better = rule(tuned[first])
            key = (first, second) if better > score or not score else (first, -1)
            if key not in accuracy:
                weights = frozen.weights[first] if key[1] < 0 else tuned[first].weights[second]
                accuracy[key] = self.test_accuracy(weights, rows["test"])
            kept[name] = accuracy[key]
        return kept

    def train(
        self, part, phase: int, weights: list[np.ndarray], views: list[np.ndarray], rows: dict[str, np.ndarray],
        options: TrainingOptions,
    ) -> Epochs:  # fmt: skip
        """Train one phase from some weights to its end, and return all its epochs."""
        import keras

        from tlkeras.features.extract import Features
        from tlkeras.training.checkpoint import assign_all

        steps = -(-len(rows["train"]) // options.batch_size)
        count = (options.frozen_epochs, options.finetune_epochs)[phase]
        first = phase * options.frozen_epochs
        state, start = self.compiled(part, phase, steps * count)
        assign_all(state, start)
        for variable in state:
            if variable.name == "seed_generator_state":
                variable.assign([options.seed, phase])
        assign_all(self.model.trainable_weights, weights)
        tensors = slice(1) if phase == 0 else slice(1, None)
        training = Features(views[tensors], self.targets[rows["train"]], options.views).training_batches(
            batch_size=options.batch_size, first_epoch=first, last_epoch=first + count, seed=options.seed
        )
        found = Epochs([], [], [], [])
        inputs = self.inputs(phase, rows["validation"])

        def on_epoch_end(epoch: int, logs: dict) -> None:
            probabilities, true = part.predict_on_batch(inputs), self.targets[rows["validation"]].argmax(axis=1)
            losses = -np.log(np.clip(probabilities[np.arange(len(true)), true], 1e-7, 1.0))
            found.accuracy.append(float((probabilities.argmax(axis=1) == true).mean()))
            found.loss.append(float(losses.mean()))
            found.error.append(float(losses.std(ddof=1) / len(losses) ** 0.5))
            found.weights.append([np.asarray(weight).copy() for weight in self.model.trainable_weights])

        part.fit(
            training, steps_per_epoch=steps, initial_epoch=first, epochs=first + count, shuffle=False, verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=on_epoch_end)],
        )  # fmt: skip
        return found

    def compiled(self, part, phase: int, steps: int):
        """Return all that a training step changes, and what it was at first; compile where the steps are others."""
        from tlkeras.training.optimizers import make_optimizer, make_schedule
        from tlkeras.training.phase import compile_part

        if getattr(self, f"steps_{phase}", None) != steps:
            rate = (self.training.head_learning_rate, self.training.finetune_learning_rate)[phase]
            schedule = make_schedule(rate, steps, self.training.warmup)
            optimizer = make_optimizer(self.model, self.training, schedule)
            state = compile_part(self.model, part, optimizer, 0.0, Extensions())
            setattr(self, f"steps_{phase}", steps)
            setattr(self, f"state_{phase}", (state, [np.asarray(variable).copy() for variable in state]))
        return getattr(self, f"state_{phase}")

    def inputs(self, phase: int, rows: np.ndarray):
        """Return the features of some images as a phase takes them."""
        tensors = self.features[:1] if phase == 0 else self.features[1:]
        parts = [array[rows] for array in tensors]
        return parts[0] if len(parts) == 1 else tuple(parts)

    def test_accuracy(self, weights: list[np.ndarray], rows: np.ndarray) -> float:
        """Return the accuracy of the model with some weights on the test images."""
        from tlkeras.training.checkpoint import assign_all

        assign_all(self.model.trainable_weights, weights)
        outputs = self.parts.upper.predict(self.inputs(1, rows), batch_size=256, verbose=0)
        return float((outputs.argmax(axis=1) == self.targets[rows].argmax(axis=1)).mean())


def print_table(title: str, runs: list[dict[str, float]], seconds: float) -> None:
    """Print a row for each rule."""
    took = f", {seconds:.0f} s" if seconds else ""
    print(f"\n{title} ({len(runs)} runs{took})\n\n| rule | median | range | mean difference | better | worse |")
    print("|---|---|---|---|---|---|")
    for rule in RULES:
        values, against = [run[rule] for run in runs], [run[rule] - run[REFERENCE] for run in runs]
        cells = [f"{median(values):.3f}", f"{min(values):.3f}–{max(values):.3f}"]
        if rule != REFERENCE:
            cells += [f"{mean(against):+.4f}", sum(one > 0 for one in against), sum(one < 0 for one in against)]
        print(f"| {rule} | {' | '.join(map(str, cells))}{' | ' * (5 - len(cells))} |", flush=True)


if __name__ == "__main__":
    main()
