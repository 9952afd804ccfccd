"""What "auto" asks pretrained features: how images become squares, and whose statistics normalize activations."""

import dataclasses
import logging
from collections.abc import Sequence
from typing import get_args

import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.fields import Resize
from tlkeras.config.train import TrainConfig
from tlkeras.data.loading import decode_all
from tlkeras.data.prepare import PreparedData
from tlkeras.data.quality import content_digests
from tlkeras.errors import UserError
from tlkeras.modalities.base import Modality
from tlkeras.run.folds import class_labels, example_groups
from tlkeras.run.quiet import quiet
from tlkeras.runtime import load_tensorflow

SURE = 0.95  # probability of being better, from which the way of the pretraining gives way
Way = tuple[str, TrainConfig, Modality]
log = logging.getLogger("tlkeras")


def choose_resize(config: TrainConfig, spec: BackboneSpec, data: PreparedData) -> PreparedData:
    """Return the data, which were decoded by "crop", as they tell the classes apart best; say so in a line."""
    modality, decoding = type(data.modality), data.modality.options()
    ways = {way: modality.from_config(decoding | {"resize": way}) for way in get_args(Resize)}
    chosen = compare("resize", [(way, config, one) for way, one in ways.items()], spec, data)
    if ways[chosen].options() == decoding:
        return data
    inputs = decode_all(data.examples, ways[chosen], 1.0, config.memory_gb, config.disk_gb).inputs
    return dataclasses.replace(data, modality=ways[chosen], inputs=inputs, digests=content_digests(inputs))


def choose_batch_norm(config: TrainConfig, spec: BackboneSpec, data: PreparedData) -> TrainConfig:
    """Return the options with the statistics that tell the classes apart best; say so in a line."""
    source, adapt = dataclasses.replace(config, batch_norm="source"), dataclasses.replace(config, batch_norm="adapt")
    ways = [("source", source, data.modality), ("adapt", adapt, data.modality)]
    return adapt if compare("batch-norm", ways, spec, data) == "adapt" else source


def compare(option: str, ways: Sequence[Way], spec: BackboneSpec, data: PreparedData) -> str:
    """Return the name of the way that tells the classes apart best: the first one where no other is surely better.

    For each way one pass computes features of training and validation examples, on which a logistic regression is
    cross-validated. The test split has no part in it, so the splits stay what they were.
    """
    load_tensorflow(ways[0][1].seed)
    import keras

    from tlkeras.selection.extractor import Extractor
    from tlkeras.selection.halving import MOST, Candidate, count_folds, measure
    from tlkeras.selection.scores import best_probabilities, stratified_order

    names = [name for name, *_ in ways]
    rows = np.concatenate([data.splits["train"], data.splits["validation"]])
    labels = class_labels(data, rows)
    if min(np.bincount(labels, minlength=len(data.classes))) < 2:
        raise UserError(f"--{option} auto needs two images of each class beside the test split; give one of "
                        f"{', '.join(names)}.")  # fmt: skip
    order = stratified_order(labels, ways[0][1].seed)[:MOST]
    rows, labels = rows[order], labels[order]
    examples, groups = [data.examples[row] for row in rows], example_groups(data, rows)
    folds = count_folds(labels, groups)
    found = [Candidate(name, Extractor(config, spec, modality, examples)) for name, config, modality in ways]
    with quiet(f"Comparing {', '.join(names)}"):
        for one in found:
            measure(one, labels, groups, folds)
    keras.backend.clear_session()  # so that the run is the one that it would be without this
    first, best = found[0], min(found[1:], key=lambda one: one.rank)
    outputs = [one.probabilities for one in (best, first) if one.probabilities is not None]
    sure = best_probabilities(outputs, labels)[0]
    better = best.metrics["accuracy"] > first.metrics["accuracy"] and sure >= SURE
    chosen = best.name if better else first.name
    scores = ", ".join(f"{one.name} {one.metrics['accuracy']:.3f}" for one in found)
    log.info("%s: %s. A linear model on features, cross-validated on %s: %s (%s better than %s with probability "
             "%.2f).", option.capitalize(), chosen, data.modality.count_noun(len(rows)), scores, best.name,
             first.name, sure)  # fmt: skip
    return chosen
