"""Variants of training beside the default, on the same images, splits and test: what pays, and what does not.

    python benchmarks/finetune.py RESULTS DATA... --weights FILE
    python benchmarks/finetune.py RESULTS

DATA is what `--data` takes. Of each set as many images are drawn as `--images` says, in its own proportions, a fifth of
them for validation; up to 300 of the others are the test. MobileNetV2, all options at their defaults but those of a
variant; digits at 64 px and without flips. Variants:

    average         moving average of the weights, which validation and test see (Polyak and Juditsky 1992)
    gradual         --gradual-unfreezing
    l2_sp           --l2-sp 0.01; l2_sp_1: 1
    lora            --lora-rank 8; lora_fast: with --finetune-learning-rate 1e-3, ten times the default
    fast            --finetune-learning-rate 3e-4, three times the default, without anything else
    accumulate      gradients of two batches: as BatchNormalization stays frozen, that is --batch-size 64
    deeper          two stages more are unfrozen (block_11)
    ten_epochs      ten epochs in phase 2, in place of as many as make 300 steps, of which patience leaves some out
    early_200       as many as make 200
    trained_head    --linear-probe never; patience_5: --patience 5; both: both, as the defaults were before
    steps_200       200 steps and no early end; steps: 300, after the BiT-HyperRule (arXiv:1912.11370)
    weights         --class-weights balanced
    balanced        --class-weights oversample; balanced_ten: with ten epochs
    flipped         outputs of the default, averaged over each test image and its mirror image; not for digits

Each result is added to RESULTS (JSON lines) when it is there, and what is there is not measured again. Draws are the
outer loop, so that all sets have as many. Without DATA the tables are printed: median and range of test accuracy and of
balanced accuracy over the draws, and the differences from the default of the same draw.
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

import keras
import numpy as np
from arguments import at_least

import tlkeras
from tlkeras import SplitData
from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.data.loading import decode_all, sample
from tlkeras.data.sources import find_examples
from tlkeras.modalities.image import ImageModality
from tlkeras.training.checkpoint import assign_all, to_numpy

MOST_TEST = 300
STEPS = {"early_200": (200, True), "steps_200": (200, False), "steps": (300, False)}  # and whether patience ends them
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "average": {},
    "gradual": {"gradual_unfreezing": True},
    "l2_sp": {"l2_sp": 0.01},
    "l2_sp_1": {"l2_sp": 1.0},
    "lora": {"lora_rank": 8},
    "lora_fast": {"lora_rank": 8, "finetune_learning_rate": 1e-3},
    "fast": {"finetune_learning_rate": 3e-4},
    "accumulate": {"batch_size": 64},
    "deeper": {"unfreeze": "block_11"},
    "ten_epochs": {"finetune_epochs": 10},
    **{name: {} for name in STEPS},
    "trained_head": {"linear_probe": "never"},
    "patience_5": {"patience": 5},
    "both": {"linear_probe": "never", "patience": 5},
    "weights": {"class_weights": "balanced"},
    "balanced": {"class_weights": "oversample"},
    "balanced_ten": {"class_weights": "oversample", "finetune_epochs": 10},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="JSON lines")
    parser.add_argument("data", nargs="*", help="digits, folders of images or CSV files; none prints the tables")
    parser.add_argument("--images", type=at_least(20), default=200, help="drawn of each set")
    parser.add_argument("--draws", type=at_least(1), default=3)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--weights", default="imagenet", help="of MobileNetV2")
    parser.add_argument("--image-size", type=at_least(32), default=96)
    parser.add_argument("--minutes", type=at_least(1), default=10**6, help="start nothing new after so many")
    options = parser.parse_args()
    tlkeras.load_tensorflow(seed=0)
    end = time.monotonic() + 60 * options.minutes
    for draw in range(options.draws):
        for data in options.data:
            run_variants(options, data, draw, end)
    print_tables(read(options.results))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_variants(options: argparse.Namespace, data: str, draw: int, end: float) -> None:
    """Measure the variants that are missing for one draw."""
    name = Path(data).resolve().name
    done = {tuple(one[key] for key in ("set", "images", "draw", "variant")) for one in read(options.results)}
    wanted = [one for one in options.variants if (name, options.images, draw, one) not in done]
    splits = draw_images(options, data, draw) if wanted and time.monotonic() < end else {}
    for variant in wanted:
        if time.monotonic() > end:
            break
        for column, found in measure(options, splits, data, variant).items():
            result = {"set": name, "images": options.images, "draw": draw, "variant": column, **found}
            with options.results.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(result, flush=True)


def draw_images(options: argparse.Namespace, data: str, draw: int) -> dict[str, SplitData]:
    """Return training, validation and test images; five at least of each class are drawn."""
    listing = find_examples(data)
    labels, rng = np.array([example.label for example in listing.examples]), np.random.default_rng(draw)
    rows: dict[str, list[int]] = {"train": [], "validation": [], "test": []}
    for one in listing.classes:
        found = rng.permutation(np.flatnonzero(labels == one))
        count = max(5, round(options.images * len(found) / len(labels)))
        held_out = max(1, round(count / 5))
        test = max(1, round(MOST_TEST * len(found) / len(labels)))
        rows["validation"] += [*found[:held_out]]
        rows["train"] += [*found[held_out:count]]
        rows["test"] += [*found[count:][:test]]
    size = 64 if data == "digits" else options.image_size
    modality = ImageModality.resolve(
        get_backbone_spec("MobileNetV2"), {"image_size": size}, partial(sample, listing.examples)
    )
    splits = {}
    for name, chosen in rows.items():
        images = decode_all([listing.examples[row] for row in chosen], modality, 0.0).inputs[:]
        targets = np.array([listing.classes.index(labels[row]) for row in chosen])
        splits[name] = SplitData(images, np.arange(len(chosen)), np.eye(len(listing.classes), dtype="float32")[targets])
    return splits


class Average(keras.callbacks.Callback):
    """A moving average of the weights over about ten steps; each epoch is evaluated, and kept, as the average."""

    def on_train_begin(self, logs: Any = None) -> None:
        self._average, self._raw, self._step = to_numpy(self.model.trainable_weights), None, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self._step += 1
        momentum = min(0.9, self._step / (self._step + 9))
        for average, weight in zip(self._average, self.model.trainable_weights, strict=True):
            average += (1 - momentum) * (np.asarray(weight) - average)

    def on_test_begin(self, logs: Any = None) -> None:
        self._raw = to_numpy(self.model.trainable_weights)
        assign_all(self.model.trainable_weights, self._average)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self._raw:
            assign_all(self.model.trainable_weights, self._raw)


def measure(
    options: argparse.Namespace, splits: dict[str, SplitData], data: str, variant: str
) -> dict[str, dict[str, Any]]:
    """Return what the test says of a variant; the default is also evaluated with mirror images."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(0)
    train, given = splits["train"], VARIANTS[variant] | ({"flip": "none"} if data == "digits" else {})
    if variant in STEPS:
        count, ends_early = STEPS[variant]
        epochs = -(-count // -(-len(train) // 32))
        given |= {"finetune_epochs": epochs} | ({} if ends_early else {"patience": epochs})
    model = tlkeras.build_classifier("MobileNetV2", train, weights=options.weights)
    callbacks = [Average()] if variant == "average" else []
    start = time.perf_counter()
    result = tlkeras.train_two_phases(model, train, splits["validation"], callbacks=callbacks, **given)
    about = {"kept": result.kept, "epoch": result.epoch, "seconds": round(time.perf_counter() - start, 1)}
    about |= {name: len(split) for name, split in splits.items()}
    images, truth = splits["test"].inputs, splits["test"].targets.argmax(axis=1)
    outputs = model.predict(images, batch_size=64, verbose=0)
    found = {variant: accuracies(outputs, truth) | about}
    if variant == "default" and data != "digits":
        mirrored = model.predict(images[:, :, ::-1], batch_size=64, verbose=0)
        found["flipped"] = accuracies(outputs + mirrored, truth) | about
    return found


def accuracies(outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the accuracy over all images, and its mean over the classes."""
    right = outputs.argmax(axis=1) == truth
    by_class = [right[truth == one].mean() for one in np.unique(truth)]
    return {"accuracy": float(right.mean()), "balanced": float(np.mean(by_class))}


def print_tables(results: list[dict[str, Any]]) -> None:
    """Print a table of each metric: a row for each variant, a column for each set, and the gain over the default."""
    sets = list(dict.fromkeys(one["set"] for one in results))
    for metric in ("accuracy", "balanced"):
        known = {(one["set"], one["images"], one["draw"], one["variant"]): one[metric] for one in results}
        print(f"\n| {metric} | {' | '.join(sets)} | difference, mean | better | worse |\n|{'---|' * (4 + len(sets))}")
        for variant in dict.fromkeys(one["variant"] for one in results):
            cells, gains = [], []
            for name in sets:
                found = {key: value for key, value in known.items() if (key[0], key[3]) == (name, variant)}
                defaults = {key: known.get((*key[:3], "default")) for key in found}
                gains += [found[key] - default for key, default in defaults.items() if default is not None]
                values = list(found.values())
                text = f"{median(values):.3f} ({min(values):.3f}–{max(values):.3f}; {len(values)})" if values else ""
                cells.append(text)
            difference = f"{mean(gains):+.3f}" if gains else ""
            counts = f"{difference} | {sum(gain > 0 for gain in gains)} | {sum(gain < 0 for gain in gains)}"
            print(f"| {variant} | {' | '.join(cells)} | {counts} |")


if __name__ == "__main__":
    main()
