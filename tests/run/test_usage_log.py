"""The log of a run's predictions: many programs and days, a bounded size, a fair sample, nothing of the images."""

import subprocess
import sys
from datetime import date, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.evaluation.reference import FILE, Counts, fit_reference
from tlkeras.io.locks import locked
from tlkeras.run import usage_log
from tlkeras.run.usage_log import MAX_DAYS, ROWS_PER_DAY, Usage, UsageLog, read_usage

DAY = date(2026, 11, 28)


def usage(values, day: date = DAY, seed: int = 0) -> Usage:
    """Return the usage of a day with one number for each image, which is its row."""
    rows = np.asarray(values, "float16")[:, None]
    counts = Counts(*(np.asarray(part) for part in (len(rows), 1, [len(rows), 0], [0, len(rows)])))
    return Usage.of_day(day, counts, rows, np.random.default_rng(seed).random(len(rows)))


@pytest.fixture
def run(tmp_path):
    """Return what a log needs of a run of two classes, and features of some examples."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "run"
    folder.mkdir()
    features, outputs = rng.normal(size=(60, 5)), rng.dirichlet([1, 1], 60)
    fit_reference(features, features, outputs, np.zeros(60, bool), "single_label").save(folder)
    return SimpleNamespace(path=folder, task="single_label", features=features, outputs=outputs)


def add(log: UsageLog, run, count: int) -> None:
    log.add(run.outputs[:count], run.features[:count], [True] + [False] * (count - 1))


def test_what_is_added_is_there_and_added_to(tmp_path, run):
    path = tmp_path / "usage.npz"
    log = UsageLog(path, run)
    log.save()
    assert not path.exists()  # nothing was added
    add(log, run, 10)
    add(log, run, 5)
    log.save()
    log.save()  # nothing twice
    again = UsageLog(path, run)
    add(again, run, 2)
    again.save()
    kept = read_usage(path, log.run_hash, log.reference)
    assert (kept.total().images, kept.total().unsure, len(kept.rows)) == (17, 3, 17)
    assert kept.total().classes.sum() == kept.total().levels.sum() == 17 and len(kept.days) == 1
    given = log.reference.project(run.features[:10])
    assert {tuple(row) for row in kept.rows} == {tuple(row) for row in given}
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["usage.npz"]


def test_what_could_not_be_written_is_written_the_next_time(tmp_path, run, monkeypatch):
    log = UsageLog(tmp_path / "usage.npz", run)
    add(log, run, 10)
    with monkeypatch.context() as patch:
        patch.setattr(usage_log, "WAIT", 0.1)
        with locked(tmp_path / ".usage.npz.lock", "The log"), pytest.raises(UserError, match=r"The log .*Wait for it"):
            log.save()
    add(log, run, 5)
    log.save()
    assert read_usage(log.path, log.run_hash, log.reference).total().images == 15


def test_examples_without_features_and_empty_batches_are_not_counted(tmp_path, run):
    log = UsageLog(tmp_path / "usage.npz", run)
    log.add(run.outputs, None, [None] * 60)
    log.add(run.outputs[:0], run.features[:0], [])
    log.save()
    assert not (tmp_path / "usage.npz").exists()


WRITE = """
import sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from tlkeras.run.usage_log import UsageLog
log = UsageLog(Path(sys.argv[2]), SimpleNamespace(path=Path(sys.argv[1]), task="single_label"))
for _ in range(20):
    log.add(np.full((3, 2), 0.5), np.zeros((3, 5)), [False] * 3)
    log.save()
"""


def test_several_programs_write_to_one_file(tmp_path, run):
    path = tmp_path / "usage.npz"
    command = [sys.executable, "-c", WRITE, run.path, path]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    assert [process.communicate()[1] for process in processes] == [""] * 3
    log = UsageLog(path, run)
    assert read_usage(path, log.run_hash, log.reference).total().images == 180


def test_the_size_is_bounded():
    days = [usage(range(300), DAY + timedelta(number)) for number in range(MAX_DAYS + 10)]
    kept = days[0].joined(*days[1:])
    assert len(kept.days) == MAX_DAYS and kept.days[-1] == np.datetime64(DAY + timedelta(MAX_DAYS + 9))
    assert len(kept.rows) == MAX_DAYS * ROWS_PER_DAY and set(kept.images) == {300}
    assert set(kept.row_days) == set(kept.days)


def test_each_image_is_as_likely_in_the_sample_however_busy_its_day():
    """Of 1,000 images of one day and 200 of another, a sixth of the sample is of the other."""
    fractions = []
    for seed in range(100):
        parts = [usage(np.zeros(100), seed=seed * 20 + number) for number in range(10)]  # which came one by one
        quiet = usage(np.ones(200), DAY + timedelta(1), seed=seed * 20 + 19)
        sample = parts[0].joined(*parts[1:], quiet).sample(500)
        assert 200 <= len(sample) <= 300
        fractions.append(sample.mean())
    assert np.mean(fractions) == pytest.approx(1 / 6, abs=0.01)
    assert len(usage(np.zeros(50)).sample(20)) == 20


def test_since_a_day():
    both = usage(np.zeros(30)).joined(usage(np.ones(40), DAY + timedelta(2)))
    later = both.since(DAY + timedelta(1))
    assert later.total().images == 40 and later.sample(500).tolist() == [[1.0]] * 40
    assert both.since(DAY).total().images == 70 and not len(both.since(DAY + timedelta(3)).days)


def test_what_is_no_log_of_this_run_is_refused_and_stays(tmp_path, run):
    path = tmp_path / "usage.npz"
    log = UsageLog(path, run)
    add(log, run, 20)
    log.save()
    whole = path.read_bytes()
    for content in (b"", b"my notes", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"usage.npz is not a log, or a damaged one"):
            UsageLog(path, run)
        assert path.read_bytes() == content
    path.write_bytes(whole)
    features = run.features + 1
    fit_reference(features, features, run.outputs, np.zeros(60, bool), "single_label").save(run.path)
    with pytest.raises(UserError, match="log of another run"):
        UsageLog(path, run)
    with pytest.raises(UserError, match=r"no folder .*nowhere for the log"):
        UsageLog(tmp_path / "nowhere" / "usage.npz", run)
    (run.path / FILE).unlink()
    with pytest.raises(UserError, match=r"no .*reference.npz"):
        UsageLog(path, run)


@pytest.mark.parametrize(
    "damage",
    [
        lambda one: {"classes": one.classes[:, :1]},
        lambda one: {"levels": one.levels[:, :1]},
        lambda one: {"rows": one.rows[:, :1]},
        lambda one: {"keys": one.keys[1:]},
        lambda one: {"days": one.days[:0]},
        lambda one: {"rows": one.rows * np.float16(np.nan)},
        lambda one: {name: getattr(one, name)[:0] for name in ("days", "images", "unsure", "classes", "levels")},
    ],
)
def test_a_damaged_log_is_refused(tmp_path, run, damage):
    log = UsageLog(tmp_path / "usage.npz", run)
    add(log, run, 20)
    log.save()
    kept = read_usage(log.path, log.run_hash, log.reference)
    np.savez(log.path, **vars(kept) | damage(kept) | {"run": np.array(log.run_hash)})
    with pytest.raises(UserError, match=r"usage.npz is damaged\. Give another path"):
        UsageLog(log.path, run)


def test_features_that_are_no_numbers_are_counted_and_not_kept(tmp_path, run):
    log = UsageLog(tmp_path / "usage.npz", run)
    run.features[3] = np.nan
    add(log, run, 10)
    log.save()
    kept = read_usage(log.path, log.run_hash, log.reference)
    assert (kept.total().images, len(kept.rows)) == (10, 9)
