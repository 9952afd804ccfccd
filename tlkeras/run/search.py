"""The work of `scripts/choose.py --search`: options are tried by Optuna, in a study on the disk."""

import dataclasses
import json
import logging
import math
import tempfile
import time
import warnings
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from tlkeras.config.choose import ChooseConfig
from tlkeras.config.train import TrainConfig
from tlkeras.data.prepare import PreparedData
from tlkeras.errors import UserError
from tlkeras.run.choose import (
    Chosen,
    changed_options,
    find_candidates,
    load_data,
    output_folder,
    write_config,
)
from tlkeras.run.folder import log_file
from tlkeras.run.folds import validation_folds
from tlkeras.run.quiet import quiet
from tlkeras.run.trial import OutOfTime, decode_for, stop_at, train_and_predict

if TYPE_CHECKING:
    import optuna

log = logging.getLogger("tlkeras")
DATABASE = "search.db"
# Seconds between the signs of life of a trial, and without one after which it has failed: its process was killed.
HEARTBEAT, GRACE = 10, 60
SHOWN = 5  # trials
SEEDS = 10_000  # of one process
UNRELATED = ("memory_gb", "disk_gb", "cache_gb", "feature_dtype", "engine", "track")  # to what is searched


def search(config: ChooseConfig, number: int = 0) -> dict[str, Any]:
    """Try options until there are enough trials, write `config.yaml` of the best one, and return the best few.

    `number` tells processes that start at the same time, as each is to try other options.
    """
    start = time.monotonic()
    deadline = math.inf if config.budget is None else start + 60 * config.budget
    folder = output_folder(config)
    (chosen,), _ = find_candidates(dataclasses.replace(config, backbones=config.backbone))
    with tempfile.TemporaryDirectory() as name, log_file(Path(name, "log.txt")):
        data = load_data(chosen, Path(name))
        searched = Search(chosen, data, folder, config.trials, deadline)
        study = open_study(folder, searched.config, data, number)
        try:
            # [part: cluster]
            if config.cluster:
                from tlkeras.run.search_cluster import search_on_workers

                search_on_workers(config, study, deadline, searched.report, GRACE + HEARTBEAT)
            # [/part]
            searched.run(study)
        except KeyboardInterrupt as stop:
            raise type(stop)(f"its trials are in {folder / DATABASE}; the same command resumes it.") from None
    done = completed(study)
    if not done:
        reasons = [one.user_attrs["reason"] for one in study.trials if "reason" in one.user_attrs]
        hint = f"The last one said: {reasons[-1]}" if reasons else "Give --budget more minutes, or leave it out."
        raise UserError(f"No trial came to its end. {hint}")
    states = [one.state.name.lower() for one in study.trials]
    return {
        "data": config.data, "unit": data.modality.plural, "backbone": chosen.spec.name,
        "trials": {state: states.count(state) for state in sorted(set(states))},
        "examples": searched.count, "folds": len(searched.folds),
        "best": [{"trial": one.number, "loss": one.value, "accuracy": one.user_attrs["accuracy"],
                  "options": one.user_attrs["options"]} for one in done[:SHOWN]],
        "config": str(folder / "config.yaml"), "database": str(folder / DATABASE),
    }  # fmt: skip


def folder_lock(folder: Path) -> FileLock:
    """Return the lock for what several processes of one search write: one database and one config."""
    return FileLock(folder / f".{DATABASE}.lock")


def open_study(folder: Path, config: TrainConfig, data: PreparedData, number: int = 0) -> "optuna.Study":
    """Return the study of a folder, new or started before; refuse one of other data or options."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    folder.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name not in UNRELATED}
    settings = json.loads(json.dumps(settings | {"examples": len(data.examples), "classes": data.classes}))
    with folder_lock(folder):
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{folder / DATABASE}", engine_kwargs={"connect_args": {"timeout": 60}},
            heartbeat_interval=HEARTBEAT, grace_period=GRACE,
        )  # fmt: skip
        study = optuna.create_study(
            storage=storage, study_name="search", load_if_exists=True, direction="minimize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        )  # fmt: skip
        before = study.user_attrs.get("settings", settings)
        if others := sorted(name for name in settings if settings[name] != before.get(name)):
            raise UserError(
                f"The search in {folder} was started with another {' and '.join(others)}. Give the same, "
                "or another --output."
            )
        study.set_user_attr("settings", settings)
    study.sampler = optuna.samplers.TPESampler(
        seed=config.seed + len(study.trials) + SEEDS * number, constant_liar=True
    )
    optuna.storages.fail_stale_trials(study)
    return study


class Search:
    """What all trials of one process have in common."""

    def __init__(self, chosen: Chosen, data: PreparedData, folder: Path, trials: int, deadline: float) -> None:
        self._spec, self._data, self._folder = chosen.spec.resolve(), data, folder
        unfreeze = self._spec.default_unfreeze(data.modality.options().get("image_size"))
        config = chosen.config.with_defaults(unfreeze, chosen.config.weights != "none")
        self.config = dataclasses.replace(config, layer_decay=chosen.config.layer_decay)  # if None, each trial's own
        self._trials, self._deadline = trials, deadline
        self._decoded: PreparedData | None = None  # in the image size of the last trial
        self.folds = validation_folds(data, self.config.seed)
        self.count = sum(len(held_out) for _, held_out in self.folds)

    def run(self, study: "optuna.Study") -> None:
        """Try options until there are enough trials, or no more time."""
        import optuna

        from tlkeras.selection.space import given_params

        ended = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
        with folder_lock(self._folder):
            if all(one.state == optuna.trial.TrialState.FAIL for one in study.trials):
                study.enqueue_trial(given_params(self.config))
        while len(study.get_trials(deepcopy=False, states=ended)) < self._trials and time.monotonic() < self._deadline:
            study.optimize(
                self.objective, n_trials=1, callbacks=[self.report], gc_after_trial=True, catch=OutOfTime
            )  # fmt: skip

    def objective(self, trial: "optuna.Trial") -> float:
        """Return the log loss of one trial for examples that were held out, at its best temperature."""
        import keras
        import optuna

        from tlkeras.data.pipeline import make_targets, oversample
        from tlkeras.evaluation.calibration import fit, log_losses
        from tlkeras.selection.space import FIRST, suggest, suggest_features

        options = suggest(trial, self.config)
        if trial.number >= max(FIRST, self._trials // 2):
            options = suggest_features(trial, options, self._spec, self._data.modality, self._adaptable)
        trial.set_user_attr("options", changed_options(options))
        data = self._decode(options)
        targets = make_targets(data.examples, data.task, data.classes)
        train = self.folds[0][0]
        options = options.for_examples(
            len(oversample(targets[train]) if options.class_weights == "oversample" else train)
        )
        assert options.finetune_epochs is not None
        outputs, epochs = np.zeros_like(targets), options.frozen_epochs + options.finetune_epochs
        for number, (train, held_out) in enumerate(self.folds):
            callbacks = [pruning(trial, number * epochs), stop_at(self._deadline)]
            metric = keras.metrics.CategoricalCrossentropy(name="cross_entropy")  # without label smoothing
            split = dataclasses.replace(data, splits={"train": train, "validation": held_out})
            try:
                with quiet(f"Trial {trial.number}"):
                    outputs[held_out] = train_and_predict(options, self._spec, split, callbacks, [metric])
            except UserError as error:  # such as a loss that became infinite
                trial.set_user_attr("reason", str(error))
                raise optuna.TrialPruned(str(error)) from error
        rows = np.concatenate([held_out for _, held_out in self.folds])
        outputs, targets = outputs[rows], targets[rows]
        trial.set_user_attr("accuracy", float((outputs.argmax(axis=1) == targets.argmax(axis=1)).mean()))
        calibrated = fit(outputs, targets, data.task).apply(outputs)
        return float(log_losses(calibrated, targets, data.task).mean())

    @cached_property
    def _adaptable(self) -> bool:
        """Return whether the backbone has statistics of pretraining that can be adapted."""
        from keras.layers import BatchNormalization

        from tlkeras.data.pipeline import split_data
        from tlkeras.models.introspect import get_backbone
        from tlkeras.models.keras_private import flatten_layers
        from tlkeras.run.train import build

        config = dataclasses.replace(self.config, **self._data.modality.options())
        layers = flatten_layers(get_backbone(build(config, self._spec, split_data(self._data)["train"])))
        return config.weights != "none" and any(isinstance(layer, BatchNormalization) for layer in layers)

    def _decode(self, options: TrainConfig) -> PreparedData:
        """Return the data in the image size of a trial."""
        size = options.image_size or self._data.image_size
        if self._decoded is None or self._decoded.image_size != size:
            self._decoded = decode_for(dataclasses.replace(options, image_size=size), self._spec, self._data)
        return self._decoded

    def report(self, study: "optuna.Study", trial: "optuna.trial.FrozenTrial") -> None:
        """Log a line about a trial, and write the options of the best one so far."""
        import optuna

        with folder_lock(self._folder):
            if not (done := completed(study)):
                return
            write_config(TrainConfig(**done[0].user_attrs["options"]), self._folder)
        ended = "pruned" if trial.state == optuna.trial.TrialState.PRUNED else "stopped by --budget"
        said = f"{ended} after {len(trial.intermediate_values)} epochs"
        said = trial.user_attrs.get("reason", said)
        if "accuracy" in trial.user_attrs:
            said = f"log loss {trial.value:.4f}, accuracy {trial.user_attrs['accuracy']:.3f}"
        log.info("Trial %d: %s; best: trial %d, %.4f.", trial.number, said, done[0].number, done[0].value)


def completed(study: "optuna.Study") -> list["optuna.trial.FrozenTrial"]:
    """Return the trials that came to their end, the best first."""
    from optuna.trial import TrialState

    return sorted(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda one: one.values)


def pruning(trial: "optuna.Trial", first_step: int) -> Any:
    """Return a Keras callback that reports each epoch, and ends a trial that is worse than most were by then."""
    import keras
    import optuna

    def report(epoch: int, logs: dict[str, float]) -> None:
        trial.report(logs["val_cross_entropy"], first_step + epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    return keras.callbacks.LambdaCallback(on_epoch_end=report)
