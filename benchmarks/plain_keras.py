"""The two phases as the Keras guide on transfer learning writes them: what tlkeras is compared with.

https://keras.io/guides/transfer_learning/: images squashed to a square, augmentation layers and pixel scaling inside
the model, `base(x, training=False)`, a dropout and a dense layer, Adam at 1e-3, then the unfrozen part at 1e-5. As by
default in tlkeras, the top from the spec's stage on is unfrozen, and the best epoch on validation is what counts.
"""

import argparse
import json
import time
from typing import TYPE_CHECKING

from arguments import at_least, train_val_folder

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.runtime import load_tensorflow

if TYPE_CHECKING:
    import keras


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=train_val_folder, help="folder with train and val")
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--weights", default=None, help=".weights.h5 of the backbone; random without")
    parser.add_argument("--epochs", type=at_least(1), default=10, help="of each phase")
    parser.add_argument("--no-augmentation", action="store_true", help="leave out the random layers")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    load_tensorflow(options.seed)
    print(json.dumps(run(options)))


def run(options: argparse.Namespace) -> dict:
    """Train both phases; return seconds of each and the validation accuracy of the best and the last epoch."""
    import keras

    spec = get_backbone_spec(options.backbone)
    size = spec.default_size
    train, validation = (
        keras.utils.image_dataset_from_directory(
            options.data / split, image_size=(size, size), batch_size=32, seed=options.seed, verbose=False
        )
        for split in ("train", "val")
    )
    count = len(validation.file_paths)
    train, validation = train.prefetch(2), validation.prefetch(2)
    base = getattr(keras.applications, spec.constructor)(
        include_top=False, weights=None, input_shape=(size, size, 3), **spec.constructor_args
    )
    if options.weights:
        base.load_weights(options.weights)
    base.trainable = False
    inputs = x = keras.Input((size, size, 3))
    if not options.no_augmentation:
        x = keras.layers.RandomFlip("horizontal")(x)
        x = keras.layers.RandomRotation(0.1)(x)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    x = keras.layers.GlobalAveragePooling2D()(base(x, training=False))
    outputs = keras.layers.Dense(1)(keras.layers.Dropout(0.2)(x))
    model = keras.Model(inputs, outputs)
    seconds, accuracies = {}, []
    for phase, learning_rate in (("frozen", 1e-3), ("finetune", 1e-5)):
        if phase == "finetune":
            unfreeze_top(base, spec)
        model.compile(
            optimizer=keras.optimizers.Adam(learning_rate),
            loss=keras.losses.BinaryCrossentropy(from_logits=True),
            metrics=[keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)],
            jit_compile=False,
        )
        start = time.perf_counter()
        history = model.fit(train, validation_data=validation, epochs=options.epochs, verbose=0)
        seconds[phase] = round(time.perf_counter() - start, 1)
        accuracies += history.history["val_accuracy"]
    return {
        "seed": options.seed, "best": max(accuracies), "last": accuracies[-1], "count": count, "seconds": seconds
    }  # fmt: skip


def unfreeze_top(base: "keras.Model", spec: BackboneSpec) -> None:
    """Set the base trainable, then freeze what lies below the stage, as the guide has it."""
    stage = next(stage for stage in spec.stages if stage.name == spec.finetune_from)
    first = [layer.name for layer in base.layers].index(stage.first_layer) + stage.after
    base.trainable = True
    for layer in base.layers[:first]:
        layer.trainable = False


if __name__ == "__main__":
    main()
