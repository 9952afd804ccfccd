"""Builder functions: a Keras Applications backbone with a new dense head, as one plain functional model.

Every model for pictures takes raw RGB pixels from 0 to 255 of any size, `(B, H, W, 3)`, uint8 or float, and does the
rest inside: the largest centre square, brought to the backbone's size, scaled the way its weights were trained. Models
for texts take strings.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import keras
from keras import layers

from tlkeras.backbones import Backbone, check_image_size
from tlkeras.config import ModelOptions, Task, check_values
from tlkeras.errors import UserError
from tlkeras.extras.hub.handles import PREFIX
from tlkeras.extras.hub.spec import resolve_spec, load_module_spec
from tlkeras.models.backbone import add_module, add_image_backbone
from tlkeras.models.head import add_head, pool

ACTIVATIONS: dict[Task, str] = {"single_label": "softmax", "multi_label": "sigmoid", "regression": "linear"}


def build_classifier(
    backbone: str | Backbone,
    num_outputs: int,
    *,
    task: Task = "single_label",
    weights: str | Path = "imagenet",
    image_size: int | None = None,
    pooling: Literal["avg", "max", "both"] = "avg",
    hidden: Sequence[int] = (),
    dropout: float = 0.2,
    l2: float = 0.0,
    target_mean: float = 0.0,
    target_std: float = 1.0,
    precision: str = "float32",
    pixel_range: Literal["auto", "0..1", "-1..1", "0..255"] = "auto",
    tokens: int | None = None,
    texts: Sequence[str] | None = None,
) -> keras.Model:
    """Build a backbone with a new head, the backbone frozen.

    The output layer starts at zero, so that the first step of training does not send noise into the backbone (Big
    Transfer, Kolesnikov et al. 2020, arXiv:1912.11370): all classes are equally likely at first.

    Args:
        backbone: a name from the table (`tlkeras.backbones`) in any spelling; `hub:HANDLE`;
            `kerashub:PRESET`; or a row.
        num_outputs: number of classes, or of numbers for regression.
        task: "single_label" gives a softmax, "multi_label" a sigmoid for each class, "regression" plain numbers.
        weights: "imagenet", "none" (random) or a weight file; see `tlkeras.models.weights`.
        image_size: pixels a side that the backbone sees; the backbone's own default when None.
        pooling: how `(B, h, w, C)` features become a vector: mean, maximum, or both side by side.
        hidden: units of dense ReLU layers between the features and the output.
        dropout: rate in front of each dense layer.
        l2: penalty on the kernels of the head's dense layers.
        target_mean: mean of the training targets (regression), added to the output inside the model.
        target_deviation: standard deviation of the training targets (regression).
        precision: dtype policy of the layers, such as "mixed_bfloat16"; input scaling and output stay float32.
        pixel_range: what a hub module takes; see `tlkeras.extras.hub.spec.read_module`.
        tokens: length of the texts that an encoder sees; see `tlkeras.extras.kerashub.encoder.build_encoder`.
        texts: training texts, from which an encoder takes that length and, with random weights, its vocabulary.

    Returns:
        A functional model from `(B, H, W, 3)` pixels, 0–255, texts `(B,)`, or sounds `(B, samples)`, -1 to 1, to
        `(B, num_outputs)` float32.

    Raises:
        UserError: for an unknown backbone, a value that an option cannot have, a size below the backbone's least, or
            weights that cannot be used.
    """
    check_values(
        ModelOptions(
            weights=str(weights), image_size=image_size, pooling=pooling, hidden_units=hidden, dropout=dropout, l2=l2,
            precision=precision, pixel_range=pixel_range, sequence_length=tokens,
        )
    )  # fmt: skip
    spec = load_module_spec(resolve_spec(backbone, pixel_range))
    if task not in ACTIVATIONS:
        raise UserError(f"The task was {task}; it must be one of {', '.join(ACTIVATIONS)}.")
    if spec.handle and str(weights) not in ("imagenet", "module"):  # the first is the default
        raise UserError(f"weights was {weights}, but {spec.name} brings its own; leave it out.")
    if spec.form == "pictures":
        inputs, x = add_image_backbone(spec, check_image_size(spec, image_size), str(weights), precision)
    elif spec.preset:
        from tlkeras.extras.kerashub.encoder import add_encoder  # which needs KerasHub

        inputs, x = add_encoder(spec, str(weights), tokens, texts, precision)
    else:
        inputs, x = add_module(spec)
    x = pool(x, pooling, precision)
    x = add_head(x, num_outputs, ACTIVATIONS[task], hidden, dropout, l2, precision)
    if task == "regression":
        x = layers.Rescaling(target_std, offset=target_mean, dtype="float32", name="units")(x)
    return keras.Model(inputs, x, name="classifier" if task != "regression" else "regressor")


def task_of(model: keras.Model) -> Task:
    """What the outputs of a model from `build_classifier` mean, read from its last layers."""
    activation = keras.activations.serialize(model.get_layer("output").activation)
    return next(task for task, name in ACTIVATIONS.items() if name == activation)


def build_hub_classifier(handle: str, num_outputs: int, **options: Any) -> keras.Model:
    """Build a TensorFlow Hub module with a new dense head, the module frozen.

    What a module is: https://www.tensorflow.org/hub/reusable_saved_models.

    Args:
        handle: its URL, its folder, or an archive of it.
        num_outputs: number of classes, or of numbers for regression.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is the module's own where it is not
            given, or 224 where it takes any.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or a module that cannot be had or does not take pictures.
    """
    return build_classifier(f"{PREFIX}{handle}", num_outputs, **options)


def build_vgg16(num_outputs: int, **options: Any) -> keras.Model:
    """Build VGG16 (Simonyan and Zisserman 2015, arXiv:1409.1556) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 224 where it is not given.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.
    """
    return build_classifier("VGG16", num_outputs, **options)


def build_resnet50(num_outputs: int, **options: Any) -> keras.Model:
    """Build ResNet50 (He et al. 2016, arXiv:1512.03385) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 224 where it is not given.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.
    """
    return build_classifier("ResNet50", num_outputs, **options)


def build_mobilenet_v2(num_outputs: int, **options: Any) -> keras.Model:
    """Build MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 224 where it is not given.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.
    """
    return build_classifier("MobileNetV2", num_outputs, **options)


def build_inception_v3(num_outputs: int, **options: Any) -> keras.Model:
    """Build InceptionV3 (Szegedy et al. 2016, arXiv:1512.00567) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 299 where it is not given.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.
    """
    return build_classifier("InceptionV3", num_outputs, **options)
