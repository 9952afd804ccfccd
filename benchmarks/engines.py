"""Images per second of the feature pass by each engine, and how far its features are from plain TensorFlow's.

    python benchmarks/engines.py [--weights FOLDER]

Images are noise, in memory, 32 at a time; weights are those of FOLDER where it has them and random ones elsewhere.
Each engine runs in turn, a few rounds; medians are printed. "start s" is what building it takes, once in a run. "error"
is the root of the mean square difference of the pooled features, relative to that of the features themselves.
"""

import argparse
import time
from pathlib import Path
from statistics import median

import numpy as np
from arguments import at_least
from two_phase import BACKBONES, weights_of

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.runtime import load_tensorflow

ENGINES = ["plain", "tensorflow", "openvino", "openvino_bf16"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, help="folder of weight files named as Keras names them")
    parser.add_argument("--backbones", nargs="+", default=BACKBONES)
    parser.add_argument("--rounds", type=at_least(1), default=5)
    options = parser.parse_args()
    load_tensorflow(0)
    print(f"{'backbone':<12} {'engine':<14} {'img/s':>7} {'to plain':>8} {'start s':>8} {'error':>8}")
    for backbone in options.backbones:
        compare(backbone, weights_of(options.weights, backbone), options.rounds)


def compare(backbone: str, weights: Path | None, rounds: int) -> None:
    """Print a line for each engine."""
    from tlkeras.features.engines import BATCH_SIZE, make_engine
    from tlkeras.features.split_model import split_model
    from tlkeras.models.builders import build_classifier

    spec = get_backbone_spec(backbone)
    below = split_model(build_classifier(spec, 2, weights=str(weights or "none")), 0).below
    images = np.random.default_rng(0).integers(0, 256, (BATCH_SIZE, spec.default_size, spec.default_size, 3))
    images = images.astype("float32")
    engines, starts, features = {}, {}, {}
    for name in ENGINES:
        start = time.perf_counter()
        engines[name] = plain_engine(below) if name == "plain" else make_engine(below, name)
        features[name] = engines[name]([images])[0]
        starts[name] = time.perf_counter() - start
    seconds = {name: [] for name in ENGINES}
    for _ in range(rounds):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine([images])
            seconds[name].append(time.perf_counter() - start)
    for name in ENGINES:
        speed = BATCH_SIZE / median(seconds[name])
        ratio = median(seconds["plain"]) / median(seconds[name])
        error = np.sqrt(np.mean((features[name] - features["plain"]) ** 2) / np.mean(features["plain"] ** 2))
        label = backbone if name == "plain" else ""
        print(f"{label:<12} {name:<14} {speed:>7.0f} {ratio:>8.2f} {starts[name]:>8.1f} {error:>8.0e}", flush=True)


def plain_engine(model):
    """Return the model in a `tf.function`, as Keras' own `predict` has it."""
    import keras
    import tensorflow as tf

    step = tf.function(lambda images: keras.tree.flatten(model(images, training=False)))
    return lambda inputs: [output.numpy() for output in step(tf.convert_to_tensor(inputs[0]))]


if __name__ == "__main__":
    main()
