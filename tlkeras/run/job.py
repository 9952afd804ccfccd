"""What all commands that train have in common: check, find, decode, resume, and write a run's folder."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.config.fields import check_applicable
from tlkeras.data.prepare import PreparedData, decode_data, find_data
from tlkeras.data.sources import short_name
from tlkeras.run.fingerprint import check_fingerprint, check_finished
from tlkeras.run.folder import CHECKPOINTS, check_space, choose_run_dir, is_complete, run_directory
from tlkeras.run.initial_weights import InitialWeights, initial_weights
from tlkeras.runtime import load_tensorflow


@dataclass(frozen=True)
class Inputs:
    """What a job works on, once everything was checked.

    Attributes:
        config: all options, with what is really used.
        spec: the backbone, resolved.
        data: decoded examples and their splits.
        folder: where everything is written.
        initial: the weight file that the backbone starts from, if it is one.
    """

    config: Any
    spec: BackboneSpec
    data: PreparedData
    folder: Path
    initial: InitialWeights | None


@dataclass(frozen=True)
class Job:
    """What tells one command that trains from another.

    Attributes:
        title: of the last line, which says where the result is.
        result: file whose presence tells a finished run.
        work: trains, evaluates and writes.
        prefix: in front of the default name of the folder.
        shown: the file that the last line names; the folder where it is empty.
        check: refuses options for a backbone, before any file is opened.
        resolve: fills in the options that depend on the backbone.
        stored_params: parameters that checkpoints and model take on the disk, for a config and a spec.
    """

    title: str
    result: str
    work: Callable[[Inputs], None]
    prefix: str = ""
    shown: str = ""
    check: Callable[[Any, BackboneSpec], None] = lambda config, spec: None
    resolve: Callable[[Any, BackboneSpec], Any] = lambda config, spec: config
    stored_params: Callable[[Any, BackboneSpec], int] = lambda config, spec: 0


def run_job(job: Job, config: Any, spec: BackboneSpec) -> Path:
    """Do a job, or resume it, in the run's folder.

    What can be wrong is checked in the order of what it costs: options, files, examples, and only then TensorFlow.

    Args:
        job: what to do.
        config: all options, already checked by themselves.
        spec: the backbone that they name.

    Returns:
        The run's folder.

    Raises:
        UserError: for a mistake in options or data; nothing is left behind.
    """
    check_applicable(config, "provider", spec.provider, f"the backbone is {spec.name}")
    spec = spec.configure(**{name: getattr(config, name) for name in spec.own_options})
    config = dataclasses.replace(config, weights=spec.resolve_weights(config.weights))
    spec.check(config.weights, config.image_size)
    job.check(config, spec)
    name = f"{job.prefix} {short_name(config.data)}".strip()
    path = choose_run_dir(config.run_dir, config.overwrite, job.result if config.resume else None, name, spec.name)
    if config.resume and is_complete(path, job.result):
        check_finished(path / "config.yaml", dataclasses.replace(config, backbone=spec.name))
        print(f"{job.title}: {path / job.shown} (it was finished before)")
        return path
    with run_directory(path, config.overwrite, config.resume) as folder:
        job.work(prepare(job, config, spec, path, folder))
    print(f"{job.title}: {path / job.shown}")
    return path


def prepare(job: Job, config: Any, spec: BackboneSpec, path: Path, folder: Path) -> Inputs:
    """Find and decode the examples, and refuse what cannot be trained or resumed.

    Args:
        job: what will be done.
        config: all options.
        spec: the backbone.
        path: the run's folder in the end.
        folder: where it is written until then.
    """
    found = find_data(config, spec, config.image_size, config.seed)
    spec = found.spec
    check_applicable(config, "modality", found.modality.name, f"{found.listing.name} holds {found.modality.plural}")
    job.check(config, spec)  # again, for a backbone that was not known before
    check_space(folder, job.stored_params(config, spec))
    dataclasses.replace(config, task=found.listing.task).check()
    options = found.modality.options()
    spec.check_weights(config.weights, options.get("image_size", 0))
    data = decode_data(found, config, config.seed)
    config = dataclasses.replace(
        job.resolve(config, spec), task=data.task, backbone=spec.name, run_dir=str(path), overwrite=False, resume=False,
        **options,
    )  # fmt: skip
    initial = initial_weights(spec, config.weights)
    check_fingerprint(folder / CHECKPOINTS, config, data, initial.digest if initial else spec.digest)
    load_tensorflow(config.seed)
    return Inputs(config, spec, data, folder, initial)
