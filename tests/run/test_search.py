"""What several processes of one search write."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import yaml

from tlkeras.run.search import Search

optuna = pytest.importorskip("optuna")


def test_several_processes_report_at_once(tmp_path):
    study = optuna.create_study()
    study.add_trial(optuna.trial.create_trial(value=0.5, user_attrs={"options": {"dropout": 0.4}, "accuracy": 0.9}))
    search = SimpleNamespace(_folder=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: Search.report(search, study, study.trials[0]), range(100)))
    assert yaml.safe_load((tmp_path / "config.yaml").read_text()) == {"dropout": 0.4}
