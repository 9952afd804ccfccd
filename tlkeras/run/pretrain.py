"""The whole road of `scripts/pretrain.py`: a source data set in, weights with their card out."""

import dataclasses
import logging
from pathlib import Path

from tlkeras.backbones import Backbone, check_image_size, find_backbone
from tlkeras.config import PretrainConfig
from tlkeras.data.prepare import PreparedData, decode_data, find_data
from tlkeras.data.tfds_name import short_name
from tlkeras.errors import UserError
from tlkeras.run.card import write_card
from tlkeras.run.first_weights import FirstWeights, first_weights
from tlkeras.run.folder import CHECKPOINTS, check_space, choose_run_dir, finished_before, writing
from tlkeras.run.identity import check_finished, check_identity
from tlkeras.run.records import write_history, write_json
from tlkeras.startup import load_tensorflow
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.weight_files import check_weights_option

log = logging.getLogger("tlkeras")


def pretrain(config: PretrainConfig) -> Path:
    """Train all layers of a backbone, from nothing as a rule, or go on with a training that was stopped.

    Args:
        config: all options.

    Returns:
        The file of weights, which `--weights` takes.

    Raises:
        UserError: for a mistake in options or data.
    """
    config.check()
    row = find_backbone(config.backbone)
    check_image_size(row, config.image_size)
    name = f"pretrained {short_name(config.data)}"
    file = f"{row.name}.weights.h5"
    path = choose_run_dir(config.run_dir, config.overwrite, file if config.resume else None, name, row.name)
    weights = path / file
    if config.resume and finished_before(path, file):
        check_finished(path / "config.yaml", dataclasses.replace(config, backbone=row.name))
        print(f"Weights: {weights} (finished before)")
        return weights
    with writing(path, config.overwrite, config.resume) as folder:
        check_space(folder, 14 * row.parameters)  # with three checkpoints, and what the optimizer keeps in them
        found = find_data(config, row, config.image_size, config.seed)
        if found.source.task == "regression":
            raise UserError(f"The labels of {found.source.name} are numbers; a backbone is pretrained on classes.")
        check_weights_option(row, config.weights, found.form.image_size)
        data = decode_data(found, config, config.seed)
        resolved = dataclasses.replace(
            config, backbone=row.name, image_size=data.image_size, task=data.task, run_dir=str(path), overwrite=False,
            resume=False,
        )  # fmt: skip
        first = first_weights(row, config.weights)
        check_identity(folder / CHECKPOINTS, resolved, data, first and first.digest)
        say_what_the_card_lacks(config, first)
        load_tensorflow(config.seed)
        train_and_write(resolved, row, data, folder, first)
    print(f"Weights: {weights}")
    return weights


def say_what_the_card_lacks(config: PretrainConfig, first: FirstWeights | None) -> None:
    """Say it before the hours are spent: a run that was stopped can still be given another `--about`."""
    if not config.about:
        log.info("Note: the card will not say where the data come from and under which terms; --about says it.")
    if first and not first.card:
        log.info("Note: no card lies beside %s; --about can say what it learned from, on which terms.", first.name)


def train_and_write(
    config: PretrainConfig, row: Backbone, data: PreparedData, folder: Path, first: FirstWeights | None
) -> None:
    """Train, judge, and write weights with their card, and the model as `scripts/train.py` writes it.

    Args:
        config: all options.
        row: the backbone.
        data: decoded pictures and their splits.
        folder: where everything goes.
        first: the file of weights that it begins with, if it is one.
    """
    from tlkeras.data.pipeline import example_sets
    from tlkeras.evaluation.metrics import summary
    from tlkeras.models.builders import build_classifier
    from tlkeras.models.freezing import backbone_of, set_trainable
    from tlkeras.run.model_file import save_run
    from tlkeras.run.train import judge
    from tlkeras.training.from_scratch import train_from_scratch
    from tlkeras.training.roads import training_view

    splits = example_sets(data)
    model = build_classifier(
        row, splits["train"].targets.shape[1], task=data.task, weights=config.weights, image_size=data.image_size,
        dropout=0.0, precision=config.precision,
    )  # fmt: skip
    history = train_from_scratch(
        model, splits["train"], splits["validation"], config, Checkpoints(folder / CHECKPOINTS)
    )
    judged = {name: split for name, split in splits.items() if name != "train"}
    figures = judge(training_view(model), judged, config.batch_size, data.task)
    weights = folder / f"{row.name}.weights.h5"
    backbone_of(model).save_weights(weights)
    set_trainable(model, "none")
    save_run(model, config, data, splits["validation"].first(16)[0], folder)
    write_history(folder / "history.csv", history)
    write_json(folder / "metrics.json", figures)
    write_card(weights, config, data, figures, sum(epoch["seconds"] for epoch in history), first)
    for name, values in figures.items():
        log.info("%s %s", f"{name.capitalize()}:".ljust(11), summary(values))
