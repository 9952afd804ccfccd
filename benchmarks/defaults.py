"""Test accuracy of a default run beside what one could do instead, over sets, images a class, and draws.

    python benchmarks/defaults.py RESULTS DATA... --weights FILE
    python benchmarks/defaults.py RESULTS

DATA is what `--data` takes; digits are run as configs/digits.yaml has them, but for as many epochs as by default. Of
each class as many images are drawn as `--sizes` says, or 70% of them where there are fewer; up to 1,500 of the others
are the test, which nothing but the last line of a run sees. What a run needs for validation it takes from the drawn
images. Columns:

    default    what `train.py` does; of another checkout with --tlkeras
    top        the same with --unfreeze block_13 --layer-decay 0.8, the default of larger images
    all        the same with --unfreeze all, the default of small images
    head       the same without phase 2
    adapt      the same with --batch-norm adapt
    auto       the same with --batch-norm auto
    logistic   logistic regression on pooled features of all drawn images, C by 5-fold cross-validation
    full       phase 2 with all layers for 500 steps, as the BiT-HyperRule has it for small sets (arXiv:1912.11370)
    plain      the loop of the Keras guide, as in plain_keras.py: 10 + 10 epochs, the last one

Each result is added to RESULTS (JSON lines) when it is there, and what is there is not measured again. Without DATA the
table is printed: median and range of the test accuracy over the draws.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import yaml
from arguments import at_least

COLUMNS = ("default", "top", "all", "head", "adapt", "auto", "logistic", "full", "plain")
MOST_TEST = 1500
FULL_STEPS = 500
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="JSON lines")
    parser.add_argument("data", nargs="*", help="digits, or folders of images; none prints the table")
    parser.add_argument("--sizes", type=at_least(2), nargs="+", default=[20, 60, 300], help="images of a class")
    parser.add_argument("--draws", type=at_least(1), default=5)
    parser.add_argument("--columns", nargs="+", choices=COLUMNS, default=COLUMNS)
    parser.add_argument("--weights", default="imagenet", help="of MobileNetV2")
    parser.add_argument("--image-size", type=at_least(32), default=224)
    parser.add_argument("--tlkeras", type=Path, default=ROOT, help="another checkout, for the default run")
    parser.add_argument("--label", default="", help="what to call its column, such as 'default before'")
    parser.add_argument("--work", help=argparse.SUPPRESS)  # the draw, in the process that measures it
    options = parser.parse_args()
    if options.work:
        print(json.dumps(measure(options)))
        return
    for data in options.data:
        for size in options.sizes:
            for draw in range(options.draws):
                run_columns(options, data, size, draw)
    print_table(read(options.results))


def read(path: Path) -> list[dict[str, Any]]:
    """Return the results so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_columns(options: argparse.Namespace, data: str, size: int, draw: int) -> None:
    """Measure what is missing for one draw, each column in a process of its own."""
    name = Path(data).resolve().name
    done = {tuple(one[key] for key in ("set", "size", "draw", "column")) for one in read(options.results)}
    with tempfile.TemporaryDirectory() as folder:
        for column in options.columns:
            label = options.label or column
            if (name, size, draw, label) in done:
                continue
            work = Path(folder, "draw.npz")
            if not work.exists():
                pixels = digits_options()["image_size"] if data == "digits" else options.image_size
                np.savez(work, allow_pickle=False, data=data, **draw_images(data, size, draw, pixels))
            command = [sys.executable, __file__, str(options.results), "--work", str(work), "--columns", column]
            command += ["--weights", options.weights, "--image-size", str(options.image_size)]
            start = time.perf_counter()
            environment = os.environ | {"PYTHONPATH": str(options.tlkeras.resolve())}
            ended = subprocess.run(command, capture_output=True, text=True, env=environment)
            if ended.returncode:
                raise SystemExit(f"{name}, {size}, draw {draw}, {column} failed:\n{ended.stdout}{ended.stderr}")
            result = {"set": name, "size": size, "draw": draw, "column": label}
            result |= json.loads(ended.stdout.splitlines()[-1])
            result["seconds"] = round(time.perf_counter() - start, 1)
            with options.results.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(result, flush=True)


def digits_options() -> dict[str, Any]:
    """Return the options of the example that runs without any."""
    options = yaml.safe_load((ROOT / "configs" / "digits.yaml").read_text())
    return {name: value for name, value in options.items() if name != "finetune_epochs"}  # for the whole set


def draw_images(data: str, size: int, draw: int, pixels: int) -> dict[str, np.ndarray]:
    """Return images `(n, pixels, pixels, 3)` and labels of what is trained on, and of the test."""
    from tlkeras.backbones.registry import get_backbone_spec
    from tlkeras.data.loading import decode_all, sample
    from tlkeras.data.sources import find_examples
    from tlkeras.modalities.image import ImageModality

    listing = find_examples(data)
    labels, rng = np.array([example.label for example in listing.examples]), np.random.default_rng(draw)
    drawn, test = [], []
    for one in listing.classes:
        rows = rng.permutation(np.flatnonzero(labels == one))
        count = min(size, int(0.7 * len(rows)))
        drawn.append(rows[:count])
        test.append(rows[count:][: MOST_TEST // len(listing.classes)])
    modality = ImageModality.resolve(
        get_backbone_spec("MobileNetV2"), {"image_size": pixels}, partial(sample, listing.examples)
    )
    found: dict[str, np.ndarray] = {}
    for name, rows in (("train", np.concatenate(drawn)), ("test", np.concatenate(test))):
        decoded = decode_all([listing.examples[row] for row in rows], modality, 0.0)
        found |= {f"{name}_images": decoded.inputs[:], f"{name}_labels": labels[rows]}
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the test accuracy of one column on one draw, and how many images it was trained and tested on."""
    import tlkeras

    tlkeras.load_tensorflow(seed=0)
    with np.load(options.work) as given:
        train, test = ((given[f"{name}_images"], given[f"{name}_labels"]) for name in ("train", "test"))
        data = str(given["data"])
    chosen: dict[str, Any] = {"backbone": "MobileNetV2", "weights": options.weights, "image_size": options.image_size}
    if data == "digits":
        chosen = digits_options()
        chosen.pop("data")
    (column,) = options.columns
    counts = {"train": len(train[1]), "test": len(test[1]), "image_size": chosen["image_size"]}
    if column in ("logistic", "plain"):
        accuracy = {"logistic": logistic, "plain": plain}[column](chosen, train, test)
        return {"accuracy": accuracy} | counts
    if column == "top":
        chosen |= {"unfreeze": "block_13", "layer_decay": 0.8}
    if column == "all":
        chosen["unfreeze"] = "all"
    if column == "head":
        chosen["finetune_epochs"] = 0
    if column in ("adapt", "auto"):
        chosen["batch_norm"] = column
    if column == "full":
        epochs = -(-FULL_STEPS // -(-len(train[1]) // 32))
        chosen |= {"unfreeze": "all", "finetune_epochs": epochs, "patience": epochs}
    with tempfile.TemporaryDirectory() as folder:
        run = tlkeras.train(
            data={"train": train, "test": test}, run_dir=Path(folder, "run"), cache_gb=0.0, calibration="none", **chosen
        )
        metrics = json.loads((run / "metrics.json").read_text())
    kept = {"kept": metrics["kept_phase"], "epoch": metrics["kept_epoch"]}
    return {"accuracy": metrics["test"]["accuracy"]} | counts | kept


def logistic(chosen: dict[str, Any], train: tuple, test: tuple) -> float:
    """Return the accuracy of logistic regression on standardized features."""
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    import tlkeras
    from tlkeras.evaluation.outputs import pooled_features
    from tlkeras.models.builders import build_classifier

    model = build_classifier(chosen["backbone"], 2, weights=chosen["weights"], image_size=chosen["image_size"])
    splits = {
        name: tlkeras.SplitData(images, np.arange(len(images)), np.zeros((len(images), 2), "float32"))
        for name, (images, _) in (("train", train), ("test", test))
    }
    features = pooled_features(model, splits)
    fit = LogisticRegressionCV(Cs=np.logspace(-5, 1, 7), cv=5, scoring="neg_log_loss", max_iter=300)
    predicted = make_pipeline(StandardScaler(), fit).fit(features["train"], train[1]).predict(features["test"])
    return float((predicted == test[1]).mean())


def plain(chosen: dict[str, Any], train: tuple, test: tuple) -> float:
    """Return the accuracy of the loop that the Keras guide on transfer learning writes, after its last epoch."""
    import keras

    from tlkeras.models.builders import build_classifier
    from tlkeras.models.introspect import get_backbone

    keras.utils.set_random_seed(0)
    classes, size = np.unique(train[1]), chosen["image_size"]
    # Nothing but the backbone and its weights.
    base = get_backbone(build_classifier(chosen["backbone"], 2, weights=chosen["weights"], image_size=size))
    inputs = x = keras.Input((size, size, 3))
    if chosen.get("flip") != "none":
        x = keras.layers.RandomFlip("horizontal")(x)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(keras.layers.RandomRotation(0.1)(x))
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    model = keras.Model(inputs, keras.layers.Dense(len(classes), "softmax")(keras.layers.Dropout(0.2)(x)))
    for trainable, rate in ((False, 1e-3), (True, 1e-5)):
        base.trainable = trainable
        model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", jit_compile=False)
        model.fit(train[0].astype("float32"), np.searchsorted(classes, train[1]), batch_size=32, epochs=10, verbose=0)
    outputs = model.predict(test[0].astype("float32"), batch_size=64, verbose=0)
    return float((classes[outputs.argmax(axis=1)] == test[1]).mean())


def print_table(results: list[dict[str, Any]]) -> None:
    """Print a row for each set and size, a column for each way."""
    columns = list(dict.fromkeys(one["column"] for one in results))
    rows = sorted({(one["set"], one["size"]) for one in results})
    print(f"| set | a class | trained on | test | {' | '.join(columns)} |\n|{'---|' * (4 + len(columns))}")
    for row in rows:
        found = [one for one in results if (one["set"], one["size"]) == row]
        cells = []
        for column in columns:
            values = [one["accuracy"] for one in found if one["column"] == column]
            low, high = (min(values), max(values)) if values else (0, 0)
            cells.append(f"{median(values):.3f} ({low:.3f}–{high:.3f}; {len(values)})" if values else "")
        counts = f"{found[0]['train']:,} | {found[0]['test']:,}"
        print(f"| {row[0]} | {row[1]} | {counts} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
