"""A two-phase training that is stopped after any epoch ends bit by bit as one that is not."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone
from tlkeras.training.callbacks import RestoreBestWeights
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import TrainingResult, train_two_phases

OPTIONS = {
    "batch_size": 10, "frozen_epochs": 3, "finetune_epochs": 3, "head_learning_rate": 0.03,
    "finetune_learning_rate": 0.01, "views": 2, "optimizer": "sgd", "linear_probe": "never",
}  # fmt: skip
WHOLE_NETWORK = {"views": 0, "optimizer": "adamw"}


class EachEpochKept(Checkpoints):
    """Checkpoints of which a copy is kept after each epoch: what a training that stopped there would have left."""

    def write(self, number, arrays, state) -> None:
        super().write(number, arrays, state)
        shutil.copytree(self._folder, self._folder.parent / str(number))


@dataclass(frozen=True)
class Finished:
    """A training that was not stopped: its weights and its result, and its checkpoints after each epoch."""

    weights: list[np.ndarray]
    result: TrainingResult
    folder: Path

    def stopped_after(self, epoch: int, folder: Path) -> Checkpoints:
        """Return the checkpoints as they were after an epoch, in another folder."""
        shutil.copytree(self.folder / str(epoch), folder, dirs_exist_ok=True)
        return Checkpoints(folder)

    def check_same(self, model: keras.Model, result: TrainingResult) -> None:
        """Compare another training, times aside, with this one."""
        for one, other in ((result.history, self.result.history), (result.kept, self.result.kept)):
            assert one == other
        assert (result.epoch, result.best) == (self.result.epoch, self.result.best)
        assert set(result.seconds) == set(self.result.seconds)
        assert all(np.array_equal(one, other) for one, other in zip(model.weights, self.weights, strict=True))


def train(
    colored: Callable, checkpoints: Checkpoints | None = None, precision: str = "float32", **options
) -> tuple[keras.Model, TrainingResult]:
    """Train with dropout and a hidden layer, whose states and initial weights are random."""
    keras.utils.set_random_seed(0)
    data = colored(30)
    model = build_classifier("Tiny", 3, weights="none", hidden_units=[8], dropout=0.3, precision=precision)
    calibrate_batch_norm(model, data.inputs)
    options = TrainingOptions(**OPTIONS | options)
    return model, train_two_phases(model, data, colored(15, seed=1), options, checkpoints)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Callable[..., Finished]:
    """Return `finished(colored, **options)`: that training, which is run once for all tests."""
    known: dict[str, Finished] = {}

    def make(colored, **options) -> Finished:
        if (key := str(sorted(options.items()))) not in known:
            folder = tmp_path_factory.mktemp("finished")
            model, result = train(colored, EachEpochKept(folder / "checkpoints"), **options)
            known[key] = Finished(model.get_weights(), result, folder)
        return known[key]

    return make


@pytest.mark.parametrize("options", [{}, WHOLE_NETWORK], ids=["cached features", "whole network"])
@pytest.mark.parametrize("last", [1, 3, 4, 6])
def test_it_ends_the_same(tiny, colored, finished, tmp_path, last, options):
    expected = finished(colored, **options)
    expected.check_same(*train(colored, expected.stopped_after(last, tmp_path), **options))


# [part: openvino]
def test_features_are_computed_as_when_it_was_started(tiny, colored, finished, monkeypatch, tmp_path):
    expected = finished(colored)
    monkeypatch.setattr("tlkeras.features.openvino.pays", lambda *_: True)  # OpenVINO was installed in between
    model, result = train(colored, expected.stopped_after(4, tmp_path))
    expected.check_same(model, result)
    assert result.inputs.engine == "tensorflow"
    stopped = Checkpoints(tmp_path / "openvino")
    assert train(colored, stopped, frozen_epochs=1, finetune_epochs=0)[1].inputs.engine == "openvino"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="by OpenVINO, which is not installed any more"):
        train(colored, stopped, frozen_epochs=1, finetune_epochs=0)


# [/part]
def test_it_ends_the_same_without_checkpoints(tiny, colored, finished):
    finished(colored).check_same(*train(colored))


@pytest.mark.parametrize("last", [4, 5])
def test_a_phase_that_had_ended_early_stays_ended(tiny, colored, finished, tmp_path, monkeypatch, last):
    """Epoch 5 is the third without anything better, so phase 1 ends there."""
    given = {1: 1, 2: 2, 3: 1, 4: 1, 5: 1, 21: 3, 22: 1}
    on_epoch_end = RestoreBestWeights.on_epoch_end
    monkeypatch.setattr(
        RestoreBestWeights, "on_epoch_end",
        lambda self, epoch, logs: on_epoch_end(self, epoch, logs | {"epoch": epoch + 1}),
    )  # fmt: skip
    monkeypatch.setattr("tlkeras.training.callbacks.score", lambda logs, task: (given[round(logs["epoch"])],))
    options = {"frozen_epochs": 20, "finetune_epochs": 2, "patience": 3}
    expected = finished(colored, **options)
    assert [row["epoch"] for row in expected.result.history] == [1, 2, 3, 4, 5, 21, 22]
    expected.check_same(*train(colored, expected.stopped_after(last, tmp_path), **options))


def test_phase_1_is_still_kept_when_phase_2_is_worse(tiny, colored, finished, tmp_path):
    options = {"finetune_learning_rate": 5.0, "optimizer": "adam"}
    expected = finished(colored, **options)
    assert expected.result.kept == "frozen"
    expected.check_same(*train(colored, expected.stopped_after(5, tmp_path), **options))


def test_a_damaged_checkpoint_costs_one_epoch(tiny, colored, finished, stopping, tmp_path, caplog):
    with pytest.raises(KeyboardInterrupt):
        train(colored, stopping(tmp_path, 5))
    newest = max(tmp_path.iterdir())
    newest.write_bytes(newest.read_bytes()[:-10])
    caplog.set_level("INFO", logger="tlkeras")
    finished(colored).check_same(*train(colored, Checkpoints(tmp_path)))
    assert "Resuming from epoch 4." in caplog.text


@pytest.mark.slow
def test_a_scaled_loss_is_resumed_too(tiny, colored, finished, tmp_path):
    options = {"precision": "mixed_float16"}
    expected = finished(colored, **options)
    expected.check_same(*train(colored, expected.stopped_after(4, tmp_path), **options))


# [part: feature-cache]
def test_without_the_room_that_features_had_it_does_not_resume(tiny, colored, finished, tmp_path):
    checkpoints = finished(colored).stopped_after(2, tmp_path)
    with pytest.raises(UserError, match=r"another amount of room .* --memory-gb and --cache-gb"):
        train(colored, checkpoints, memory_gb=0.0, cache_gb=0.0)


# [/part]
def test_other_frozen_weights_are_refused(tiny, colored, finished, tmp_path, monkeypatch):
    """The weight file was replaced by another between the stop and the resume."""

    def calibrate(model, images):
        get_backbone(model).weights[0].assign_add(np.ones(get_backbone(model).weights[0].shape))

    checkpoints = finished(colored).stopped_after(2, tmp_path)
    monkeypatch.setitem(train.__globals__, "calibrate_batch_norm", calibrate)
    with pytest.raises(UserError, match="weights are not those that this run started with"):
        train(colored, checkpoints)
