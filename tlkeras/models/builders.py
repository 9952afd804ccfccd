"""Builder functions: a backbone with a new dense head, as one plain functional Keras model.

Every image model takes raw RGB pixels from 0 to 255 of any size, `(B, H, W, 3)`, uint8 or float, and does the rest
inside: a square, by default the largest one at the center, resized to the backbone's size, scaled the way its weights
were trained.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import layers

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.fields import Resize, Task, check_values
from tlkeras.config.train import ModelOptions
from tlkeras.data.pipeline import SplitData, split_data
from tlkeras.data.prepare import PreparedData
from tlkeras.errors import UserError
from tlkeras.models.head import add_head, pool
from tlkeras.models.inlining import inline_convolutions
from tlkeras.models.introspect import ACTIVATIONS


def build_classifier(
    backbone: str | BackboneSpec | keras.Model,
    num_outputs: int | PreparedData | SplitData,
    *,
    task: Task | None = None,
    weights: str | Path = "imagenet",
    image_size: int | None = None,
    pooling: Literal["avg", "max", "both"] = "avg",
    hidden_units: Sequence[int] = (),
    dropout: float = 0.2,
    l2: float = 0.0,
    target_mean: float | None = None,
    target_std: float | None = None,
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32",
    head: Any = None,
    resize: Resize | None = None,
    **backbone_options: Any,
) -> keras.Model:
    """Build a backbone with a new head, the backbone frozen.

    The output layer starts at zero, so that the first step of training does not send noise into the backbone (Big
    Transfer, Kolesnikov et al. 2020, arXiv:1912.11370): all classes are equally likely at first.

    Args:
        backbone: a name from the table in any spelling; `PREFIX:NAME` of an extra; a spec; or a functional or
            Sequential Keras model from RGB pixels `(B, S, S, 3)`, 0–255, to features `(B, h, w, C)` or `(B, C)`, which
            keeps its weights, is trained itself (no copy), and goes into the model file.
        num_outputs: number of classes, or of numbers for regression; or the data from `prepare_data`, which tell it,
            and the task, the image size and, for regression, the mean and deviation of the targets, unless given.
        task: "single_label", the default, gives a softmax, "multi_label" a sigmoid for each class, "regression" plain
            numbers.
        weights: "imagenet", "bundled", "none" (random) or a weight file; see `tlkeras.models.weights`.
        image_size: size in pixels that the backbone sees; that of the data, else the backbone's own, when None.
        pooling: how `(B, h, w, C)` features become a vector: mean, maximum, or both side by side.
        hidden_units: units of dense ReLU layers between the features and the output.
        dropout: rate before each dense layer.
        l2: penalty on the kernels of the head's dense layers.
        target_mean: mean of the training targets (regression), added to the output inside the model; 0 when None.
        target_std: standard deviation of the training targets (regression); 1 when None.
        precision: dtype policy of the layers, such as "mixed_bfloat16"; input scaling and output stay float32.
        head: a Keras layer, or a function of Keras tensors, from pooled features `(B, C)` to `(B, F)`, in place of
            `hidden_units` and `dropout`; the output layer comes after it.
        resize: how images become squares: "crop", "pad" or "squash"; as in the data, else "crop", when None.
        **backbone_options: what only this kind of backbone takes, if it takes any.

    Returns:
        A functional model from `(B, H, W, 3)` pixels, 0–255 (or what else the backbone takes), to `(B, num_outputs)`
        float32.

    Raises:
        UserError: for an unknown backbone, a value that an option cannot have, a size below the backbone's minimum, or
            weights that cannot be used.

    Example:
        >>> model = tlkeras.build_classifier("MobileNetV2", data, hidden_units=[256])
    """
    outputs = model_outputs(num_outputs, task, image_size)
    check_values(
        ModelOptions(weights=str(weights), image_size=outputs.image_size, pooling=pooling, dropout=dropout,
                     hidden_units=list(hidden_units), l2=l2, precision=precision)
    )  # fmt: skip
    mode = resize or outputs.resize
    if mode not in get_args(Resize):
        raise UserError(f"resize was {mode}; it must be one of {', '.join(get_args(Resize))}.")
    if head is not None and (hidden_units or dropout != ModelOptions.dropout):
        raise UserError("head= takes the place of hidden_units and dropout; leave them out.")
    spec = get_backbone_spec(backbone).configure(**backbone_options)
    chosen = spec.resolve_weights(str(weights))
    spec = spec.resolve()
    spec.check(chosen, outputs.image_size)
    build = resolve_name(spec.builder)
    inputs, features = build(spec, weights=chosen, image_size=outputs.image_size, precision=precision, resize=mode)
    x = pool(features, pooling, precision)
    x = add_head(x, outputs.count, ACTIVATIONS[outputs.task], hidden_units, dropout, l2, precision, head)
    if outputs.task == "regression":
        std = outputs.std if target_std is None else target_std
        mean = outputs.mean if target_mean is None else target_mean
        x = layers.Rescaling(std, offset=mean, dtype="float32", name="units")(x)
    try:
        name = "classifier" if outputs.task != "regression" else "regressor"
        return inline_convolutions(keras.Model(inputs, x, name=name))
    except ValueError as error:  # two layers of one name
        raise UserError(f"The head or the backbone that was given does not fit into the model: {error}") from error


@dataclass(frozen=True)
class Outputs:
    """What the outputs of a model are; mean and standard deviation of the numbers, for regression."""

    count: int
    task: Task
    image_size: int | None
    resize: Resize = "crop"
    mean: float = 0.0
    std: float = 1.0


def model_outputs(given: Any, task: Task | None, image_size: int | None) -> Outputs:
    """Return the outputs for a number of them, or for data; refuse a number that cannot be, and another task."""
    if task is not None and task not in ACTIVATIONS:
        raise UserError(f"The task was {task}; it must be one of {', '.join(ACTIVATIONS)}.")
    if isinstance(given, PreparedData):
        given = split_data(given)["train"]
    if isinstance(given, SplitData):
        known = given.task or task or "single_label"
        if task not in (None, known):
            raise UserError(f"The task was {task}, and the data are for {known}. Leave it out, or give other data.")
        unit = (float(given.targets.mean()), float(given.targets.std()) or 1.0) if known == "regression" else ()
        size = given.inputs.shape[1] if len(given.inputs.shape) == 4 else None
        return Outputs(given.targets.shape[1], known, image_size or size, given.resize or "crop", *unit)
    if isinstance(given, bool) or not isinstance(given, int | np.integer):
        shown = type(given).__name__
        raise UserError(f"num_outputs was a {shown}; it must be a number, how many classes there are, or the data from "
                        "tlkeras.prepare_data.")  # fmt: skip
    known = task or "single_label"
    if given < (2 if known == "single_label" else 1):
        least = "at least 2 for a choice of one class" if known == "single_label" else "at least 1"
        raise UserError(
            f"num_outputs was {given}; it must be {least}. For numbers give num_outputs=1, task='regression', or the "
            "data from tlkeras.prepare_data."
        )
    return Outputs(int(given), known, image_size)


# [part: hub]
def build_hub_classifier(handle: str, num_outputs: int | PreparedData | SplitData, **options: Any) -> keras.Model:
    """Build a TensorFlow Hub module with a new dense head, the module frozen.

    What a module is: https://www.tensorflow.org/hub/reusable_saved_models.

    Args:
        handle: its URL, its folder, or an archive of it.
        num_outputs: number of classes, or of numbers for regression; or the data, as for `build_classifier`.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is the module's own where it
            is not given, or 224 where it takes any.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or a module that cannot be used.

    Example:
        >>> model = tlkeras.build_hub_classifier("modules/my_features", num_outputs=3)
    """
    return build_classifier(f"hub:{handle}", num_outputs, **options)


# [/part]
def build_vgg16(num_outputs: int | PreparedData | SplitData, **options: Any) -> keras.Model:
    """Build VGG16 (Simonyan and Zisserman 2015, arXiv:1409.1556) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression; or the data, as for `build_classifier`.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 224 by default.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.

    Example:
        >>> model = tlkeras.build_vgg16(num_outputs=3)
    """
    return build_classifier("VGG16", num_outputs, **options)


def build_resnet50(num_outputs: int | PreparedData | SplitData, **options: Any) -> keras.Model:
    """Build ResNet50 (He et al. 2016, arXiv:1512.03385) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression; or the data, as for `build_classifier`.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 224 by default.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.

    Example:
        >>> model = tlkeras.build_resnet50(num_outputs=3)
    """
    return build_classifier("ResNet50", num_outputs, **options)


def build_mobilenet_v2(num_outputs: int | PreparedData | SplitData, **options: Any) -> keras.Model:
    """Build MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression; or the data, as for `build_classifier`.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 224 by default.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.

    Example:
        >>> model = tlkeras.build_mobilenet_v2(num_outputs=3)
    """
    return build_classifier("MobileNetV2", num_outputs, **options)


def build_inception_v3(num_outputs: int | PreparedData | SplitData, **options: Any) -> keras.Model:
    """Build InceptionV3 (Szegedy et al. 2016, arXiv:1512.00567) with a new dense head, the backbone frozen.

    Args:
        num_outputs: number of classes, or of numbers for regression; or the data, as for `build_classifier`.
        **options: those of `build_classifier`, such as `hidden_units=[256]`; `image_size` is 299 by default.

    Returns:
        A functional model from RGB pixels `(B, H, W, 3)`, 0–255, uint8 or float, to `(B, num_outputs)` float32.

    Raises:
        UserError: for a value that an option cannot have, or weights that cannot be used.

    Example:
        >>> model = tlkeras.build_inception_v3(num_outputs=3)
    """
    return build_classifier("InceptionV3", num_outputs, **options)
