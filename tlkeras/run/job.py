"""What all commands that train have in common: check, find, decode, resume, and write a run's folder."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.backbones.unfreeze import parse_unfreeze
from tlkeras.backbones.weights import find_weights
from tlkeras.config.fields import check_applicable
from tlkeras.config.train import TrainConfig
from tlkeras.data.prepare import PreparedData, decode_data, find_data
from tlkeras.data.sources import short_name, was_in_memory
from tlkeras.io.hashing import file_hash
from tlkeras.progress import stage, stage_seconds
from tlkeras.run.fingerprint import check_fingerprint, check_finished
from tlkeras.run.folder import CHECKPOINTS, check_space, choose_run_dir, is_complete, run_directory
from tlkeras.runtime import load_tensorflow

# What a job works on: options with what is really used, backbone, decoded examples, the folder to write to, and the
# SHA-256 of the weight file that the backbone starts from, if it is one.
Work = Callable[[Any, BackboneSpec, PreparedData, Path, str | None], None]


@dataclass(frozen=True)
class Job:
    """What tells one command that trains from another."""

    title: str  # of the last line, which says where the result is
    result: str  # file whose presence tells a finished run
    work: Work  # trains, evaluates and writes
    prefix: str = ""  # in front of the default name of the folder
    shown: str = ""  # file that the last line names; the folder where it is empty
    stored_params: Callable[[Any, BackboneSpec], int] = lambda config, spec: 0  # of checkpoints and model, on the disk
    given: dict[str, str] = field(default_factory=dict)  # names of what was given in Python, see `Extensions`


def run_job(job: Job, config: Any, spec: BackboneSpec, data: Any = None) -> Path:
    """Do a job, or resume it, and return the run's folder; where it is refused, nothing is left behind.

    The data are those that the config names, or they are given beside it: those in memory.

    What can be wrong is checked in the order of what it costs: options, files, examples, and only then TensorFlow.
    """
    stage_seconds.clear()
    config, spec = configure(config, spec)
    name = f"{job.prefix} {short_name(config.data)}".strip()
    path = choose_run_dir(config.run_dir, config.overwrite, job.result if config.resume else None, name, spec.name)
    if config.resume and is_complete(path, job.result):
        check_finished(path / "config.yaml", dataclasses.replace(config, backbone=spec.name), job.given)
        unread = "; the given data were not compared with its own" if was_in_memory(config.data) else ""
        print(f"{job.title}: {path / job.shown} (it was finished before{unread})")
        return path
    with run_directory(path, config.overwrite, config.resume) as folder:
        job.work(*prepare(job, config, spec, path, folder, data))
    print(f"{job.title}: {path / job.shown}")
    return path


def configure(config: Any, spec: BackboneSpec) -> tuple[Any, BackboneSpec]:
    """Return options and backbone as each knows the other; refuse what can be refused before any file is read."""
    check_applicable(config, "provider", spec.provider, f"the backbone is {spec.name}")
    spec = spec.configure(**{name: getattr(config, name) for name in spec.own_options})
    config = dataclasses.replace(config, weights=spec.resolve_weights(config.weights))
    spec.check(config.weights, config.image_size)
    check_unfreeze(config, spec)
    return config, spec


def prepare(job: Job, config: Any, spec: BackboneSpec, path: Path, folder: Path, data: Any = None) -> tuple:
    """Find and decode the examples of a run at `path`, for now in `folder`; refuse what cannot be trained."""
    with stage("reading"):
        found = find_data(config, spec, config.image_size, config.seed, data)
    spec = found.spec
    check_applicable(config, "modality", found.modality.name, f"{found.listing.name} holds {found.modality.plural}")
    check_unfreeze(config, spec)  # again, for a backbone that was not known before
    options = found.modality.options()
    check_space(folder, job.stored_params(dataclasses.replace(config, **options), spec))
    dataclasses.replace(config, task=found.listing.task).check()
    spec.check_weights(config.weights, options.get("image_size", 0))
    # [part: devices]
    from tlkeras.run.devices import choose_devices

    devices = 1 if getattr(config, "cluster_training", False) else config.devices
    config = dataclasses.replace(config, devices=choose_devices(devices, config.batch_size, job.given))
    # [/part]
    with stage("reading"):
        decoded = decode_data(found, config, config.seed)
    # [part: choose]
    if config.resize == "auto":
        from tlkeras.run.auto import choose_resize

        decoded = choose_resize(config, spec, decoded)
        options = decoded.modality.options()
    if getattr(config, "batch_norm", "") == "auto":  # pretrain.py has no such option
        from tlkeras.run.auto import choose_batch_norm

        config = choose_batch_norm(config, spec, decoded)
    # [/part]
    if isinstance(config, TrainConfig):
        config = config.with_defaults(spec.default_unfreeze(options.get("image_size")), config.weights != "none")
    config = dataclasses.replace(
        config, task=decoded.task, backbone=spec.name, run_dir=str(path), overwrite=False, resume=False, **options
    )
    file = initial_file(spec, config.weights)
    weights_hash = file_hash(file) if file else None
    check_fingerprint(folder / CHECKPOINTS, config, decoded, weights_hash or spec.digest, job.given)
    load_tensorflow(config.seed)
    return config, spec, decoded, folder, weights_hash


def check_unfreeze(config: Any, spec: BackboneSpec) -> None:
    """Refuse what phase 2 cannot unfreeze, where there is one and the stages are known."""
    if isinstance(config, TrainConfig) and spec.stages:
        parse_unfreeze(spec, config.unfreeze or spec.finetune_from)


def initial_file(spec: BackboneSpec, weights: str) -> Path | None:
    """Return the weight file that a training starts from; None where there is none."""
    return None if weights in spec.named_weights else find_weights(spec, weights)
