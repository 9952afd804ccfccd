"""What several processes of one search write."""

import math
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import yaml

from tlkeras.config.train import TrainConfig
from tlkeras.run.search import Search
from tlkeras.run.trial import OutOfTime

optuna = pytest.importorskip("optuna")


def test_several_processes_report_at_once(tmp_path):
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"options": {"dropout": 0.4}, "accuracy": 0.9}))
    search = SimpleNamespace(_folder=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: Search.report(search, study, study.trials[0]), range(100)))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"dropout": 0.4}


def test_a_trial_that_the_budget_cuts_off_has_failed_and_is_not_taken_for_bad(tmp_path, caplog):
    def cut_off(trial):
        search._deadline = 0
        trial.report(0.7, 0)
        raise OutOfTime

    study, search = optuna.create_study(), object.__new__(Search)
    search.config, search._folder, search._trials, search._deadline = TrainConfig(), tmp_path, 3, math.inf
    search.objective = cut_off
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"options": {"dropout": 0.4}, "accuracy": 0.9}))
    with caplog.at_level("INFO", "tlkeras"):
        search.run(study)
    assert [one.state.name for one in study.trials] == ["COMPLETE", "FAIL"]
    assert "Trial 1: stopped by --budget after 1 epochs; best: trial 0" in caplog.text
