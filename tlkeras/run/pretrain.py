"""The work of `scripts/pretrain.py`: a source dataset in, weights with their model card out."""

import logging
from pathlib import Path

from tlkeras.backbones.registry import get_application_spec
from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.pretrain import PretrainConfig
from tlkeras.config.train import TrainingOptions
from tlkeras.data.prepare import PreparedData
from tlkeras.run.artifacts import save_run, write_json, write_table
from tlkeras.run.folder import CHECKPOINTS
from tlkeras.run.job import Job, run_job
from tlkeras.run.model_card import initial_weights, write_model_card
from tlkeras.training.checkpoint import Checkpoints

log = logging.getLogger("tlkeras")


def pretrain(config: PretrainConfig) -> Path:
    """Train all layers of a backbone, usually from scratch, or resume a training; return the weight file."""
    config.check()
    spec = get_application_spec(config.backbone)
    file = f"{spec.name}.weights.h5"
    job = Job(
        "Weights",
        file,
        pretrain_and_write,
        prefix="pretrained",
        shown=file,
        stored_params=lambda config, spec: 14 * spec.num_params,  # three checkpoints with the optimizer's state
    )
    return run_job(job, config, spec) / file


def pretrain_and_write(
    config: PretrainConfig, spec: BackboneSpec, data: PreparedData, folder: Path, weights_hash: str | None
) -> None:
    """Train, evaluate, and write weights with their model card, and the model as `scripts/train.py` writes it."""
    from tlkeras.data.pipeline import split_data
    from tlkeras.evaluation.outputs import head_outputs, pooled_features
    from tlkeras.models.builders import build_classifier
    from tlkeras.models.freezing import set_trainable
    from tlkeras.models.introspect import get_backbone
    from tlkeras.run.train import COMPARED, evaluate_splits, log_metrics
    from tlkeras.training.all_layers import train_all_layers

    initial = initial_weights(spec, config.weights, weights_hash)
    if not config.data_description:  # said before hours are spent: a stopped run can still be given another one
        log.info("Note: the model card will not tell source and license of the data; --data-description does.")
    if initial and not initial.card:
        log.info("Note: there is no model card beside %s; --data-description can tell what it was trained on, and the "
                 "license.", initial.name)  # fmt: skip
    splits = split_data(data)
    make = build_classifier
    # [part: devices]
    from tlkeras.training.distribute import on_devices

    make = on_devices(config.devices, build_classifier)
    # [/part]
    model = make(
        spec, data, weights=config.weights, dropout=0.0, precision=config.precision,
    )  # fmt: skip
    history = train_all_layers(model, splits["train"], splits["validation"], config, Checkpoints(folder / CHECKPOINTS))
    evaluated = {name: split for name, split in splits.items() if name != "train"}
    outputs = head_outputs(model, pooled_features(model, evaluated, TrainingOptions(engine="tensorflow")))
    metrics = evaluate_splits(outputs, evaluated, data.task)
    weights = folder / f"{spec.name}.weights.h5"
    get_backbone(model).save_weights(weights)
    set_trainable(model, "none")
    save_run(model, config, data, splits["validation"].first(COMPARED)[0], folder, {})
    write_table(folder / "history.csv", history)
    write_json(folder / "metrics.json", metrics)
    write_model_card(weights, config, data, metrics, sum(epoch["seconds"] for epoch in history), initial)
    log_metrics(metrics, data.modality.plural)
