"""Every format of scripts/export.py: bytes, latency, maximum difference from the trained model, agreement.

    python benchmarks/export.py DATA --weights FILE
    python benchmarks/export.py digits --backbones all --formats litert-int8 openvino-int8 --image-size 32 --epochs 8

A head is fitted to the features of the training images by logistic regression, as in a linear probe. FILE is the weight
file of MobileNetV2; the other backbones have random weights. With `--epochs` all their layers are trained on DATA
first; without, they get the statistics of BatchNormalization that the training images give. A format is compared with
the Keras model on all images that are not for training, in a process of its own, by the code of scripts/export.py,
which also measures the time of a call. Nothing is refused here, whatever the difference. Each line is printed as soon
as it is measured, so that the work can be done in pieces: `--backbones`, `--formats`.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
from arguments import at_least
from sklearn.linear_model import LogisticRegression

import tlkeras
from tlkeras.backbones.registry import get_application_spec
from tlkeras.backbones.table import BACKBONES
from tlkeras.config.pretrain import AllLayersOptions
from tlkeras.errors import UserError
from tlkeras.export.artifact import ArtifactInfo
from tlkeras.export.formats import FORMATS, load_module
from tlkeras.export.inference import InferenceModel
from tlkeras.export.measure import measure
from tlkeras.export.parity import compare_outputs
from tlkeras.models.introspect import with_features
from tlkeras.run.export import SAMPLE, size_of
from tlkeras.training.all_layers import train_all_layers

NAMED = ["VGG16", "ResNet50", "MobileNetV2", "InceptionV3"]
NAMES = {f"{name}-{variant}": (name, variant) for name, found in FORMATS.items() for variant in found.variants}
HEADER = "| backbone | format | MB | ms, batch 1 | ms, batch 32 | maximum difference | mean | agreement (95% CI) |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="folder with train and val, or digits")
    parser.add_argument("--weights", help="weights of MobileNetV2, no top; random ones when not given")
    parser.add_argument("--backbones", nargs="+", default=NAMED, help="names, or all")
    parser.add_argument("--formats", nargs="+", default=list(NAMES), choices=NAMES, help="which, such as litert-int8")
    parser.add_argument("--image-size", type=at_least(32), help="pixels, more where a backbone needs it")
    parser.add_argument("--epochs", type=at_least(0), default=0, help="of all layers, where weights are random")
    parser.add_argument("--images", type=at_least(32), help="how many are compared at most")
    options = parser.parse_args()
    names = list(BACKBONES) if options.backbones == ["all"] else options.backbones
    print(HEADER, "|---|---|---|---|---|---|---|---|", sep="\n", flush=True)
    for name in names:
        keras.backend.clear_session()
        measure_backbone(name, options)


def measure_backbone(name: str, options: argparse.Namespace) -> None:
    """Print a line for each format."""
    spec = get_application_spec(name)
    size = max(options.image_size, spec.min_size) if options.image_size else spec.default_size
    data = tlkeras.prepare_data(options.data, spec.name, image_size=size)
    splits = tlkeras.split_data(data)
    train, rest = splits.pop("train"), list(splits.values())
    weights = (spec.name == "MobileNetV2" and options.weights) or "none"
    model = tlkeras.build_classifier(spec, data, weights=weights)
    if weights == "none" and options.epochs:
        rate = 2e-3 if is_normalized(model) else 2e-4
        how = AllLayersOptions(epochs=options.epochs, batch_size=32, learning_rate=rate, min_crop_area=0.8,
                               color_jitter=0.1, flip="none")  # fmt: skip
        train_all_layers(model, train, None, how)
    elif weights == "none":
        tlkeras.calibrate_batch_norm(model, train.spread(32)[0])
    fit_head(model, *train.first(len(train)))
    inputs = np.concatenate([part.first(len(part))[0] for part in rest])[: options.images]
    targets = np.concatenate([part.first(len(part))[1] for part in rest])[: options.images]
    reference = model.predict(inputs, batch_size=32, verbose=0)
    right = (reference.argmax(axis=1) == targets.argmax(axis=1)).mean()
    print(f"| {spec.name}, {size} px | accuracy of Keras {right:.3f} ({len(inputs)} images) |", flush=True)
    for format in options.formats:
        start = time.perf_counter()
        try:
            line = measure_format(model, spec.name, NAMES[format], train.spread(SAMPLE)[0], inputs, reference)
        except UserError as error:
            line = f"refused: {error}"
        print(f"| {spec.name} | {format} | {line} | {time.perf_counter() - start:.0f} s |", flush=True)


def is_normalized(model: keras.Model) -> bool:
    """Return whether the backbone normalizes what it computes; VGG does not, and needs a lower learning rate."""
    return any("Normalization" in type(layer).__name__ for layer in tlkeras.get_backbone(model).layers)


def fit_head(model: keras.Model, inputs: np.ndarray, targets: np.ndarray) -> None:
    """Fit the output layer to the pooled features of images."""
    count = model.output_shape[-1]
    features = with_features(model).predict(inputs, batch_size=32, verbose=0)[:, count:]
    mean, scale = features.mean(axis=0), features.std(axis=0).max()  # one for all, or faint features become loud
    found = LogisticRegression(max_iter=2000).fit((features - mean) / scale, targets.argmax(axis=1))
    kernel, bias = found.coef_ / scale, found.intercept_ - found.coef_ @ mean / scale
    if count == 2:  # one column of scikit-learn: of the second class against the first
        kernel, bias = np.concatenate([-kernel, kernel]) / 2, np.concatenate([-bias, bias]) / 2
    model.get_layer("output").set_weights([kernel.T, bias])


def measure_format(
    model: keras.Model, backbone: str, format: tuple[str, str], sample: np.ndarray, inputs: np.ndarray, reference: Any
) -> str:
    """Return the cells of a line: bytes, latency, differences and agreement."""
    name, variant = format
    outputs = {"probabilities": model.output_shape[-1], "features": model.get_layer("pool").output.shape[-1]}
    size, labels = inputs.shape[1], [str(number) for number in range(outputs["probabilities"])]
    taken = {"name": "images", "dtype": "uint8", "shape": [None, None, None, 3]}
    info = ArtifactInfo(
        name, variant, "single_label", tlkeras.__version__, backbone, {"name": "none"}, taken, outputs, labels
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        inference = InferenceModel(model, (size, size, 3), "uint8", list(outputs))
        load_module(name).convert(inference, folder, info, variant, sample)
        info.save(folder)
        measured = measure(folder, inputs, [], [])
        found = compare_outputs(reference, measured.outputs, "single_label")
        megabytes = size_of(folder, FORMATS[name].model) / 1e6
    low, high = found["agreement_95"]
    first, many = measured.milliseconds.values()
    return (
        f"{megabytes:.1f} | {first:.1f} | {many:.0f} | {found['max_difference']:.1g} | {found['mean_difference']:.1g} "
        f"| {found['agreement']:.3f} ({low:.3f}–{high:.3f})"
    )


if __name__ == "__main__":
    main()
