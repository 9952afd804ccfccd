"""The whole road of `scripts/pretrain.py`: a source data set in, weights with their card out."""

import dataclasses
import logging
from pathlib import Path

from tlkeras.backbones import Backbone, check_image_size, get_backbone_spec
from tlkeras.config import PretrainConfig
from tlkeras.data.prepare import PreparedData, decode_data, find_data
from tlkeras.data.tfds.name import short_name
from tlkeras.errors import UserError
from tlkeras.run.model_card import write_model_card
from tlkeras.run.initial_weights import InitialWeights, initial_weights
from tlkeras.run.folder import CHECKPOINTS, check_space, choose_run_dir, is_complete, run_directory
from tlkeras.run.fingerprint import check_finished, check_fingerprint
from tlkeras.run.artifacts import write_history, write_json
from tlkeras.runtime import load_tensorflow
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.backbones.weight_files import check_weights_option

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
    spec = get_backbone_spec(config.backbone)
    check_image_size(spec, config.image_size)
    name = f"pretrained {short_name(config.data)}"
    file = f"{spec.name}.weights.h5"
    path = choose_run_dir(config.run_dir, config.overwrite, file if config.resume else None, name, spec.name)
    weights = path / file
    if config.resume and is_complete(path, file):
        check_finished(path / "config.yaml", dataclasses.replace(config, backbone=spec.name))
        print(f"Weights: {weights} (finished before)")
        return weights
    with run_directory(path, config.overwrite, config.resume) as folder:
        check_space(folder, 14 * spec.parameters)  # with three checkpoints, and what the optimizer keeps in them
        found = find_data(config, spec, config.image_size, config.seed)
        if found.source.task == "regression":
            raise UserError(f"The labels of {found.source.name} are numbers; a backbone is pretrained on classes.")
        check_weights_option(spec, config.weights, found.form.image_size)
        data = decode_data(found, config, config.seed)
        resolved = dataclasses.replace(
            config, backbone=spec.name, image_size=data.image_size, task=data.task, run_dir=str(path), overwrite=False,
            resume=False,
        )  # fmt: skip
        first = initial_weights(spec, config.weights)
        check_fingerprint(folder / CHECKPOINTS, resolved, data, first and first.digest)
        say_what_the_card_lacks(config, first)
        load_tensorflow(config.seed)
        train_and_write(resolved, spec, data, folder, first)
    print(f"Weights: {weights}")
    return weights


def say_what_the_card_lacks(config: PretrainConfig, first: InitialWeights | None) -> None:
    """Say it before the hours are spent: a run that was stopped can still be given another `--data-description`."""
    if not config.data_description:
        log.info("Note: the card will not say where the data come from and under which terms; --data-description says it.")
    if first and not first.card:
        log.info("Note: no card lies beside %s; --data-description can say what it learned from, on which terms.", first.name)


def train_and_write(
    config: PretrainConfig, spec: Backbone, data: PreparedData, folder: Path, first: InitialWeights | None
) -> None:
    """Train, judge, and write weights with their card, and the model as `scripts/train.py` writes it.

    Args:
        config: all options.
        row: the backbone.
        data: decoded pictures and their splits.
        folder: where everything goes.
        first: the file of weights that it begins with, if it is one.
    """
    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.metrics import format_metrics
    from tlkeras.models.builders import build_classifier
    from tlkeras.models.freezing import get_backbone, set_trainable
    from tlkeras.run.model_file import save_run
    from tlkeras.run.train import evaluate_splits
    from tlkeras.training.all_layers import train_all_layers
    from tlkeras.training.phase_inputs import without_resizing

    splits = split_data(data)
    model = build_classifier(
        spec, splits["train"].targets.shape[1], task=data.task, weights=config.weights, image_size=data.image_size,
        dropout=0.0, precision=config.precision,
    )  # fmt: skip
    history = train_all_layers(
        model, splits["train"], splits["validation"], config, Checkpoints(folder / CHECKPOINTS)
    )
    judged = {name: split for name, split in splits.items() if name != "train"}
    figures = evaluate_splits(without_resizing(model), judged, config.batch_size, data.task)
    weights = folder / f"{spec.name}.weights.h5"
    get_backbone(model).save_weights(weights)
    set_trainable(model, "none")
    save_run(model, config, data, splits["validation"].first(16)[0], folder)
    write_history(folder / "history.csv", history)
    write_json(folder / "metrics.json", figures)
    write_model_card(weights, config, data, figures, sum(epoch["seconds"] for epoch in history), first)
    for name, values in figures.items():
        log.info("%s %s", f"{name.capitalize()}:".ljust(11), format_metrics(values))
