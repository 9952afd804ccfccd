"""Seconds of both phases of tlkeras, or of their lower bound; `two_phase.py` calls it and says what is counted."""

import argparse
import json
import time

from arguments import train_val_folder

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.data import DataOptions
from tlkeras.config.train import TrainingOptions
from tlkeras.data.prepare import prepare_data
from tlkeras.runtime import load_tensorflow

EPOCHS = 10
PLAIN = {"flip": "none", "min_crop_area": 1.0, "color_jitter": 0.0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=train_val_folder, help="folder with train and val")
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--weights", default="none")
    parser.add_argument("--no-augmentation", action="store_true")
    parser.add_argument("--engine", default="tensorflow")
    parser.add_argument("--lower-bound", action="store_true", help="measure the lower bound instead")
    arguments = parser.parse_args()
    options = TrainingOptions(
        engine=arguments.engine,
        cache_gb=0.0,
        patience=10000,
        finetune_epochs=EPOCHS,
        **PLAIN if arguments.no_augmentation else {},
    )
    spec = get_backbone_spec(arguments.backbone)
    load_tensorflow(0)
    from tlkeras.data.pipeline import split_data
    from tlkeras.models.builders import build_classifier

    start = time.perf_counter()
    splits = split_data(prepare_data(DataOptions(data=str(arguments.data)), spec))
    read = time.perf_counter() - start
    model = build_classifier(spec, 2, weights=arguments.weights)
    seconds = (
        lower_bound(model, splits, options) if arguments.lower_bound else both_phases(model, splits, options, read)
    )
    print(json.dumps({"seconds": seconds}))


def both_phases(model, splits, options: TrainingOptions, read: float) -> dict[str, float]:
    """Return the seconds of both phases; reading and features belong to the first."""
    from tlkeras.training import two_phase

    two_phase.LEARNED = float("-inf")  # all epochs, also where nothing is left to learn
    seconds = two_phase.train_two_phases(model, splits["train"], splits["validation"], options).seconds
    return {"frozen": read + seconds["features"] + seconds["frozen"], "finetune": seconds["finetune"]}


def lower_bound(model, splits, options: TrainingOptions) -> dict[str, float]:
    """Return the seconds of one pass of all images, and of the epochs' passes through the unfrozen part, when warm."""
    import tensorflow as tf

    from tlkeras.features.engines import BATCH_SIZE, make_engine
    from tlkeras.features.split_model import split_model
    from tlkeras.models.freezing import first_trainable_index, set_trainable
    from tlkeras.models.introspect import get_spec

    stage = get_spec(model).finetune_from
    parts = split_model(model, first_trainable_index(model, stage))
    engine = make_engine(parts.below, options.engine)
    views = options.views if options.changes_images() else 1
    images = splits["train"].first(BATCH_SIZE)[0].astype("float32")
    _, *at_split = engine([images])
    start = time.perf_counter()
    for _ in range(round((views * len(splits["train"]) + len(splits["validation"])) / BATCH_SIZE)):
        engine([images])
    seconds = {"frozen": time.perf_counter() - start}
    set_trainable(model, stage)
    weights = parts.upper.trainable_weights
    inputs = [tf.constant(part) for part in at_split]
    inputs = tuple(inputs) if len(inputs) > 1 else inputs[0]

    @tf.function
    def forward():
        return parts.upper(inputs, training=False)

    @tf.function
    def forward_and_backward():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(parts.upper(inputs, training=True)[:, 0])
        return tape.gradient(loss, [weight.value for weight in weights])

    forward(), forward_and_backward()
    start = time.perf_counter()
    for _ in range(EPOCHS):
        for _ in range(round(len(splits["train"]) / BATCH_SIZE)):
            forward_and_backward()
        for _ in range(round(len(splits["validation"]) / BATCH_SIZE)):
            forward()
    return seconds | {"finetune": time.perf_counter() - start}


if __name__ == "__main__":
    main()
