"""Measure crop, pad and squash: how well a linear model on pretrained features tells classes apart, in several draws.

    python benchmarks/resize.py DATA --weights WEIGHTS

DATA is what `--data` takes, with one class per image. In each draw a logistic regression is cross-validated in other
folds, on the same images for each way, as `train.py --resize auto` does it once; `auto` is what that would take.
"""

import argparse
from collections import Counter
from pathlib import Path
from typing import get_args

import numpy as np

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.fields import Resize
from tlkeras.config.train import TrainConfig
from tlkeras.data.example import Example, content_of
from tlkeras.data.prepare import prepare_data
from tlkeras.evaluation.cross_validation import FOLDS, out_of_fold_probabilities
from tlkeras.modalities.image import opened
from tlkeras.run.auto import SURE
from tlkeras.run.folds import class_labels, example_groups
from tlkeras.runtime import load_tensorflow


def main() -> None:
    """Print accuracy and balanced accuracy of each way, median and range over the draws."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    spec = get_backbone_spec(options.backbone)
    config = TrainConfig(backbone=options.backbone, weights=options.weights, image_size=options.image_size)
    data = prepare_data(str(options.data), spec, options.image_size)
    rows = np.arange(len(data.examples))
    labels, groups = class_labels(data, rows), example_groups(data, rows)
    shapes = [shape_of(example) for example in data.examples]
    print(f"{len(labels):,} images, {dict(Counter(np.array(data.classes)[labels].tolist()))}; longer by shorter side: "
          f"median {np.median(shapes):.2f}, 95% below {np.percentile(shapes, 95):.2f}")  # fmt: skip
    load_tensorflow(0)
    from tlkeras.selection.extractor import Extractor
    from tlkeras.selection.scores import best_probabilities

    outputs: dict[str, list[np.ndarray]] = {}
    for way in get_args(Resize):
        modality = type(data.modality).from_config(data.modality.options() | {"resize": way})
        features = Extractor(config, spec, modality, data.examples)(np.arange(len(labels)))
        draws = range(options.draws)
        outputs[way] = [out_of_fold_probabilities(features, labels, groups, FOLDS, draw) for draw in draws]
        right = [given.argmax(axis=1) == labels for given in outputs[way]]
        of_class = [np.mean([one[labels == name].mean() for name in np.unique(labels)]) for one in right]
        print(f"{way:8}accuracy {summary([one.mean() for one in right])}, balanced {summary(of_class)}", flush=True)
    for way in ("pad", "squash"):
        sure = [best_probabilities(list(pair), labels)[0] for pair in zip(outputs[way], outputs["crop"], strict=True)]
        print(f"{way:8}better than crop with probability {summary(sure)}; auto needs {SURE}")


def shape_of(example: Example) -> float:
    """Return how many times as long as the shorter side of an image the longer one is."""
    with opened(content_of(example)) as image:
        return max(image.size) / min(image.size)


def summary(values: list[float]) -> str:
    """Return median and range."""
    return f"{np.median(values):.3f} ({min(values):.3f}–{max(values):.3f})"


if __name__ == "__main__":
    main()
