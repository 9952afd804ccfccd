"""MobileNetV2 of Keras Applications and as a TensorFlow Hub module with the same weights: accuracy on the same split.

    python benchmarks/hub.py DATA --weights FILE

DATA is a folder with train and val. The module is made here: pixels from 0 to 1 in, pooled features out, written by
Keras 3. Each run is a new process of scripts/train.py with its defaults; the two alternate.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from arguments import at_least, train_val_folder

from tlkeras.runtime import load_tensorflow

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=train_val_folder, help="folder with train and val")
    parser.add_argument("--weights", required=True, type=Path, help="weights of MobileNetV2, no top")
    parser.add_argument("--seeds", type=at_least(1), default=5, help="seeds of each")
    options = parser.parse_args()
    accuracies = {"built-in": [], "hub module": []}
    with tempfile.TemporaryDirectory() as folder:
        module = make_module(options.weights, Path(folder) / "module")
        variants = {"built-in": ("MobileNetV2", "--weights", options.weights), "hub module": (f"hub:{module}",)}
        for seed in range(options.seeds):
            for name, backbone in variants.items():
                run = Path(folder) / f"{name} {seed}"
                arguments = ["--data", options.data, "--backbone", *backbone, "--seed", seed, "--run-dir", run]
                metrics = train(*arguments)
                accuracy = metrics["validation"]["accuracy"]
                accuracies[name].append(accuracy)
                changed = "" if name == "built-in" else f", {changed_weights(run, module)}"
                print(f"seed {seed}: {name} {accuracy:.4f}, kept: {metrics['kept_phase']}{changed}", flush=True)
    for name, values in accuracies.items():
        print(
            f"{name}: median {statistics.median(values):.4f}, {min(values):.4f}-{max(values):.4f}, {len(values)} seeds"
        )


def make_module(weights: Path, folder: Path) -> Path:
    """Write MobileNetV2 as the hub publishes feature vectors."""
    load_tensorflow()
    import keras

    network = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(224, 224, 3))
    network.load_weights(weights)
    pixels = keras.Input((224, 224, 3))
    features = keras.layers.GlobalAveragePooling2D()(network(keras.layers.Rescaling(2.0, offset=-1.0)(pixels)))
    keras.Model(pixels, features).export(folder, verbose=False)
    return folder


def changed_weights(run: Path, module: Path) -> str:
    """Return how many of the module's weights differ in a run's model."""
    import keras
    import tensorflow as tf

    from tlkeras.extras.hub.layer import HubModule
    from tlkeras.models.keras_private import flatten_layers

    before = {variable.numpy().tobytes() for variable in tf.saved_model.load(str(module)).variables}
    layers = flatten_layers(keras.models.load_model(run / "model.keras"))
    layer = next(layer for layer in layers if isinstance(layer, HubModule))
    after = {keras.ops.convert_to_numpy(variable).tobytes() for variable in layer.variables}
    return f"{len(after - before)} of {len(after)} arrays of the module changed"


def train(*arguments: object) -> dict:
    """Run scripts/train.py; return its metrics.json."""
    command = [sys.executable, HERE.parent / "scripts" / "train.py", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return json.loads((Path(arguments[-1]) / "metrics.json").read_text())


if __name__ == "__main__":
    main()
