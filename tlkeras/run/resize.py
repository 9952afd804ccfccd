"""What `--resize auto` does: ask the features of the backbone how images should become squares."""

import dataclasses
import logging
from typing import get_args

import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.fields import Resize
from tlkeras.config.train import TrainConfig
from tlkeras.data.loading import decode_all
from tlkeras.data.prepare import PreparedData
from tlkeras.data.quality import content_digests
from tlkeras.errors import UserError
from tlkeras.run.choose import class_labels
from tlkeras.run.quiet import quiet
from tlkeras.runtime import load_tensorflow

SURE = 0.95  # probability of being better, from which crop, which the backbone was trained on, gives way
log = logging.getLogger("tlkeras")


def choose_resize(config: TrainConfig, spec: BackboneSpec, data: PreparedData) -> PreparedData:
    """Return the data, which were decoded by "crop", as they tell the classes apart best; say so in a line.

    For each way one pass computes features of training and validation examples, on which a logistic regression is
    cross-validated. The test split has no part in it, so the splits stay what they were.
    """
    load_tensorflow(config.seed)
    import keras

    from tlkeras.selection.extractor import Extractor
    from tlkeras.selection.halving import MOST, Candidate, measure
    from tlkeras.selection.scores import best_probabilities, stratified_order

    rows = np.concatenate([data.splits["train"], data.splits["validation"]])
    labels, groups = class_labels(data, rows)
    if min(np.bincount(labels, minlength=len(data.classes))) < 2:
        raise UserError("--resize auto needs two images of each class beside the test split; give crop, pad or squash.")
    examples, order = [data.examples[row] for row in rows], stratified_order(labels, config.seed)[:MOST]
    modality, decoding = type(data.modality), data.modality.options()
    ways = {way: modality.from_config(decoding | {"resize": way}) for way in get_args(Resize)}
    found = [Candidate(way, Extractor(config, spec, one, examples)) for way, one in ways.items()]
    with quiet("Comparing crop, pad and squash"):
        for one in found:
            measure(one, order, labels[order], groups[order])
    keras.backend.clear_session()  # so that the run is the one that it would be without this
    crop, best = found[0], min(found[1:], key=lambda one: one.rank)
    outputs = [one.probabilities for one in (best, crop) if one.probabilities is not None]
    sure = best_probabilities(outputs, labels[order])[0]
    better = best.metrics["accuracy"] > crop.metrics["accuracy"] and sure >= SURE
    chosen = best.name if better else crop.name
    scores = ", ".join(f"{one.name} {one.metrics['accuracy']:.3f}" for one in found)
    log.info("Resize: %s. A linear model on features, cross-validated on %s: %s (%s better than crop with probability "
             "%.2f).", chosen, data.modality.count_noun(len(order)), scores, best.name, sure)  # fmt: skip
    if chosen == crop.name:
        return data
    inputs = decode_all(data.examples, ways[chosen], 1.0, config.memory_gb).inputs
    return dataclasses.replace(data, modality=ways[chosen], inputs=inputs, digests=content_digests(inputs))
