"""What a model is trained on: data of any kind become `SplitData`, and what does not fit the model is refused."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tlkeras.config.data import DataOptions
from tlkeras.config.fields import Task
from tlkeras.data.loading import decode_all
from tlkeras.data.pipeline import SplitData, make_targets, split_data
from tlkeras.data.prepare import PreparedData
from tlkeras.data.sources import find_examples
from tlkeras.errors import UserError
from tlkeras.models.introspect import decoded_input, get_task, model_modality, resize_mode

log = logging.getLogger("tlkeras")
MAX_OFF = 10  # how many times the model's unit, or the targets' own spread, the targets may be away from it
WANTED: dict[Task, str] = {
    "single_label": "one-hot, (N, K): keras.utils.to_categorical(labels)",
    "multi_label": "columns of 0 and 1, (N, K)",
    "regression": "(N, 1): targets[:, None]",
}


def fit_to_model(model: keras.Model, train: Any, validation: Any) -> tuple[SplitData, SplitData]:
    """Return both splits as the model takes them; refuse what does not fit it."""
    if validation is None:
        raise UserError(
            "No validation data were given, and they choose the epoch that is kept. Give some that are not trained on: "
            "tlkeras.prepare_data splits them off."
        )
    first = check_split(model, as_split(model, train, "train"), "training")
    if get_task(model) == "regression":
        check_unit(model, first.targets)
    return first, check_split(model, as_split(model, validation, "validation", first.classes), "validation")


def as_split(model: keras.Model, data: Any, split: str, classes: Sequence[str] | None = None) -> SplitData:
    """Return data of any kind as one split, decoded as the model takes them, with these classes if they are known."""
    if isinstance(data, SplitData):
        return data
    if isinstance(data, PreparedData):
        return split_data(data)[split]
    modality, task = model_modality(model), get_task(model)
    listing = find_examples(data, task, training=split == "train", modality=modality)
    if listing.modality is not modality:
        raise UserError(f"The model takes {modality.plural}, and {listing.name} holds {listing.modality.plural}.")
    for note in listing.notes:
        log.info("Note: %s", note)
    examples = [example for example in listing.examples if example.split in (None, split)]
    if len(examples) < len(listing.examples):
        log.info("Note: %s has splits; here its %s %s are used.", listing.name, split, modality.plural)
    if not examples:
        raise UserError(f"{listing.name} has splits, and none for {split}. Give other {modality.plural}.")
    known = listing.classes if classes is None else classes
    if missing := [name for name in listing.classes if name not in known]:
        raise UserError(
            f"The {split} data, {listing.name}, have classes that the training data lack: {', '.join(missing[:5])}. "
            f"Those have {', '.join(known[:20])}."
        )
    resize = resize_mode(model)
    own = modality.from_shape(decoded_input(model).shape[1:], resize)
    decoded = decode_all(examples, own, DataOptions().max_unreadable)
    targets = make_targets(decoded.examples, task, known)
    return SplitData(decoded.inputs, np.arange(len(targets)), targets, modality, task, known, resize)


def check_split(model: keras.Model, data: SplitData, split: str) -> SplitData:
    """Return a split with inputs and targets of the right dtype; refuse what does not fit the model."""
    modality, task, outputs = model_modality(model), get_task(model), model.output_shape[-1]
    if data.modality is not modality:
        raise UserError(
            f"The model takes {modality.plural}, and {data.modality.plural} were given. Build it with another backbone."
        )
    if not hasattr(data.inputs, "shape"):
        data = dataclasses.replace(data, inputs=np.asarray(data.inputs))
    modality.check_shape(data.inputs.shape[1:], decoded_input(model).shape[1:])
    if data.resize not in (None, mode := resize_mode(model)):
        raise UserError(
            f"The {split} images became squares by {data.resize}, and the model does it by {mode}. Give both the same "
            "resize=, or build the model from the data: build_classifier(backbone, data)."
        )
    rows, targets = np.asarray(data.rows), np.asarray(data.targets)
    if targets.ndim != 2:
        raise UserError(f"The {split} targets have the shape {targets.shape}. Give them {WANTED[task]}.")
    if not len(rows) or len(rows) != len(targets):
        raise UserError(f"The {split} data have {len(rows)} rows and {len(targets)} targets. Give one for each.")
    if rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(data.inputs):
        raise UserError(
            f"The {split} rows must be indices of the {len(data.inputs):,} inputs, whole numbers from 0 on."
        )
    if targets.shape[1] != outputs:
        raise UserError(
            f"The targets have {targets.shape[1]} columns and the model has {outputs} outputs: build it with as many "
            "outputs as there are classes."
        )
    check_targets(targets, data.task, task, split)
    inputs = modality.to_rows(data.inputs)
    return dataclasses.replace(data, inputs=inputs, rows=rows, targets=targets.astype("float32", copy=False))


def check_targets(targets: np.ndarray, given: Task | None, task: Task, split: str) -> None:
    """Refuse targets `(N, K)` of another kind than the model's outputs."""
    build = "build the model from the data: build_classifier(backbone, data)"
    if given not in (None, task):
        raise UserError(f"The {split} data are for {given}, and the model's outputs for {task}: {build}.")
    if targets.dtype.kind not in "biuf" or not np.isfinite(targets).all():
        raise UserError(f"The {split} targets ({targets.dtype}) are not all finite numbers. Give them {WANTED[task]}.")
    if task == "regression":
        return
    if targets.min() < 0 or targets.max() > 1:
        raise UserError(
            f"The {split} targets go from {targets.min():g} to {targets.max():g}, and the model's outputs are for "
            f"{task}. Give them as {WANTED[task]}; for numbers {build} or with task='regression'."
        )
    others = int((abs(targets.sum(axis=1) - 1) > 1e-3).sum())
    if task == "single_label" and others:
        raise UserError(
            f"{others:,} of the {len(targets):,} {split} targets have several labels or none, and the model gives "
            f"one class for each example (softmax): {build} or with task='multi_label'."
        )


def check_unit(model: keras.Model, targets: np.ndarray) -> None:
    """Refuse numbers that are far from what the outputs of an untrained model are."""
    unit = model.get_layer("units")
    offset, scale, mean, std = float(unit.offset), float(unit.scale), float(targets.mean()), float(targets.std())
    if std > MAX_OFF * scale or abs(mean - offset) > MAX_OFF * max(scale, std) or 0 < std * MAX_OFF**2 < scale:
        raise UserError(
            f"The training targets have the mean {mean:g} and the standard deviation {std:g}, and the model was built "
            f"for {offset:g} and {scale:g}. Build it from the data, build_classifier(backbone, data), or with "
            f"target_mean={mean:.6g}, target_std={std or 1:.6g}."
        )
