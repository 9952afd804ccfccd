"""A two-phase training that is stopped after any epoch ends bit by bit as one that is not."""

from pathlib import Path

import keras
import numpy as np
import pytest

from tlkeras.config.train import TrainingOptions
from tlkeras.errors import UserError
from tlkeras.models.batch_norm import calibrate_batch_norm
from tlkeras.models.builders import build_classifier
from tlkeras.models.introspect import get_backbone
from tlkeras.training.checkpoint import Checkpoints
from tlkeras.training.two_phase import TrainingResult, train_two_phases

EPOCHS = {
    "batch_size": 10,
    "frozen_epochs": 3,
    "finetune_epochs": 3,
    "head_learning_rate": 0.03,
    "finetune_learning_rate": 0.01,
}


def train(
    colored, folder: Path | None = None, stop_after: int = 0, precision: str = "float32", **options
) -> tuple[keras.Model, TrainingResult]:
    """With dropout and a hidden layer, whose states and first weights are random."""
    keras.utils.set_random_seed(0)
    data = colored(30)
    model = build_classifier("Tiny", 3, weights="none", hidden_units=[8], dropout=0.3, precision=precision)
    calibrate_batch_norm(model, data.inputs)
    checkpoints = Checkpoints(folder) if folder else None
    if stop_after:
        write = checkpoints.write

        def stop(epoch, *arguments):
            write(epoch, *arguments)
            if epoch == stop_after:
                raise KeyboardInterrupt

        checkpoints.write = stop
    options = TrainingOptions(**EPOCHS | options)
    return model, train_two_phases(model, data, colored(15, seed=1), options, checkpoints)


def same(model: keras.Model, other: keras.Model) -> bool:
    return all(np.array_equal(one, two) for one, two in zip(model.weights, other.weights, strict=True))


def without_seconds(result: TrainingResult) -> tuple:
    return result.history, result.kept, result.epoch, tuple(result.best)


@pytest.mark.parametrize("views", [0, 2])
@pytest.mark.parametrize("last", [1, 3, 4, 6])
def test_it_ends_the_same(tiny, colored, tmp_path, views, last):
    options = {"views": views, "optimizer": "sgd" if views else "adamw"}
    model, result = train(colored, **options)
    with pytest.raises(KeyboardInterrupt):
        train(colored, tmp_path, last, **options)
    other, again = train(colored, tmp_path, **options)
    assert without_seconds(again) == without_seconds(result)
    assert same(model, other)
    assert set(again.seconds) == set(result.seconds)


@pytest.mark.parametrize("last", [4, 5])
def test_a_phase_that_had_ended_early_stays_ended(tiny, colored, tmp_path, monkeypatch, last):
    """Epoch 5 is the third without anything better, so phase 1 ends there."""
    given = {1: 1, 2: 2, 3: 1, 4: 1, 5: 1, 21: 3, 22: 1}
    monkeypatch.setattr("tlkeras.training.callbacks.score", lambda logs, task: (given[round(logs["epoch"])],))
    monkeypatch.setattr("tlkeras.training.callbacks.BestEpoch.on_epoch_end", with_epoch())
    options = {"frozen_epochs": 20, "finetune_epochs": 2, "patience": 3}
    model, result = train(colored, **options)
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4, 5, 21, 22]
    with pytest.raises(KeyboardInterrupt):
        train(colored, tmp_path, last, **options)
    other, again = train(colored, tmp_path, **options)
    assert without_seconds(again) == without_seconds(result) and same(model, other)


def with_epoch():
    """Let the score know which epoch it judges."""
    from tlkeras.training.callbacks import RestoreBestWeights

    real = RestoreBestWeights.on_epoch_end
    return lambda self, epoch, logs: real(self, epoch, logs | {"epoch": epoch + 1})


def test_phase_1_is_still_kept_when_phase_2_is_worse(tiny, colored, tmp_path):
    options = {"finetune_learning_rate": 5.0, "optimizer": "adam"}
    model, result = train(colored, **options)
    assert result.kept == "frozen"
    with pytest.raises(KeyboardInterrupt):
        train(colored, tmp_path, 5, **options)
    other, again = train(colored, tmp_path, **options)
    assert without_seconds(again) == without_seconds(result) and same(model, other)


def test_a_damaged_checkpoint_costs_one_epoch(tiny, colored, tmp_path, caplog):
    model, result = train(colored)
    with pytest.raises(KeyboardInterrupt):
        train(colored, tmp_path, 5)
    newest = sorted(tmp_path.iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:-10])
    caplog.set_level("INFO", logger="tlkeras")
    other, again = train(colored, tmp_path)
    assert "Going on after epoch 4." in caplog.text
    assert without_seconds(again) == without_seconds(result) and same(model, other)


@pytest.mark.slow
def test_a_scaled_loss_goes_on_too(tiny, colored, tmp_path):
    model, result = train(colored, precision="mixed_float16")
    with pytest.raises(KeyboardInterrupt):
        train(colored, tmp_path, 4, precision="mixed_float16")
    other, again = train(colored, tmp_path, precision="mixed_float16")
    assert without_seconds(again) == without_seconds(result) and same(model, other)


def test_without_the_room_that_features_had_it_does_not_go_on(tiny, colored, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(colored, tmp_path, 2)
    with pytest.raises(UserError, match=r"another amount of room .* --memory-gb and --cache-gb"):
        train(colored, tmp_path, memory_gb=0.0, cache_gb=0.0)


def test_other_frozen_weights_are_refused(tiny, colored, tmp_path, monkeypatch):
    """The weight file was replaced by another between the stop and the resume."""
    with pytest.raises(KeyboardInterrupt):
        train(colored, tmp_path, 2)

    def calibrate(model, images):
        get_backbone(model).weights[0].assign_add(np.ones(get_backbone(model).weights[0].shape))

    monkeypatch.setitem(train.__globals__, "calibrate_batch_norm", calibrate)
    with pytest.raises(UserError, match="weights are not those that this run began with"):
        train(colored, tmp_path)
