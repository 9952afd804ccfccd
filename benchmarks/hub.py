"""MobileNetV2 as a row of the table and as a TensorFlow Hub module with the same weights: accuracy on the same split.

    python benchmarks/hub.py DATA --weights FILE

DATA is a folder with train and val. The module is made here: pixels from 0 to 1 in, pooled features out, written by
Keras 3. Each run is a fresh process of scripts/train.py with its defaults; the two take turns.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tlkeras.runtime import load_tensorflow

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with train and val")
    parser.add_argument("--weights", required=True, type=Path, help="weights of MobileNetV2, no top")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each")
    options = parser.parse_args()
    found = {"built-in": [], "hub module": []}
    with tempfile.TemporaryDirectory() as folder:
        module = make_module(options.weights, Path(folder) / "module")
        ways = {"built-in": ("MobileNetV2", "--weights", options.weights), "hub module": (f"hub:{module}",)}
        for seed in range(options.seeds):
            for name, backbone in ways.items():
                run = Path(folder) / f"{name} {seed}"
                arguments = ["--data", options.data, "--backbone", *backbone, "--seed", seed, "--run-dir", run]
                figures = train(*arguments)
                found[name].append(figures["validation"]["accuracy"])
                changed = "" if name == "built-in" else f", {moved(run, module)}"
                print(f"seed {seed}: {name} {found[name][-1]:.4f}, kept: {figures['kept_phase']}{changed}", flush=True)
    for name, values in found.items():
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


def moved(run: Path, module: Path) -> str:
    """How many of the module's weights are others in a run's model."""
    import keras
    import tensorflow as tf

    from tlkeras.extras.hub.layer import HubModule

    before = {variable.numpy().tobytes() for variable in tf.saved_model.load(str(module)).variables}
    layers = keras.models.load_model(run / "model.keras")._flatten_layers()
    layer = next(one for one in layers if isinstance(one, HubModule))
    after = {keras.ops.convert_to_numpy(variable).tobytes() for variable in layer.variables}
    return f"{len(after - before)} of {len(after)} arrays of the module changed"


def train(*arguments: object) -> dict:
    """One run of scripts/train.py; returns its metrics.json."""
    command = [sys.executable, HERE.parent / "scripts" / "train.py", *arguments]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return json.loads((Path(arguments[-1]) / "metrics.json").read_text())


if __name__ == "__main__":
    main()
