"""Which epoch is best, and what an epoch's row of the history holds."""

import sys
import types

import keras
import numpy as np
import pytest

from tlkeras.errors import UserError
from tlkeras.training.callbacks import EpochProgress, HistoryLogger, RestoreBestWeights, TerminateOnNaN, score


def logs(val_loss: float, val_accuracy: float = 0.5, loss: float = 1.0) -> dict[str, float]:
    return {"loss": loss, "val_loss": val_loss, "val_accuracy": val_accuracy}


def one_weight() -> keras.Model:
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.stop_training = False
    return model


def observe(
    epochs: list[dict[str, float]], patience: int = 10, monitor: str = "val_loss", learned: float = -np.inf,
    start_from_epoch: int = 0,
) -> RestoreBestWeights:  # fmt: skip
    """Return a callback that has seen these epochs; the model's one weight counts them from 1."""
    best = RestoreBestWeights(monitor, patience, learned, start_from_epoch)
    best.set_model(one_weight())
    for number, values in enumerate(epochs):
        best.model.trainable_weights[0].assign([[number + 1.0]])
        best.on_epoch_end(number, values)
        if best.model.stop_training:
            break
    return best


def test_epochs_are_compared_by_the_loss_whatever_the_accuracy():
    """With few validation images a barely trained head may score 1.000 by luck."""
    assert observe([logs(0.599, 1.0), logs(0.3, 0.9), logs(0.154, 0.9), logs(0.2, 1.0)]).epoch == 2
    assert score({"val_loss": 0.5, "val_mae": 1.0}, "val_loss") == (-0.5,)


def test_epochs_are_compared_by_accuracy_on_demand_and_a_tie_by_loss():
    epochs = [logs(0.2, 0.8), logs(0.9, 0.9), logs(0.8, 0.9), logs(0.85, 0.9)]
    assert observe(epochs, monitor="val_accuracy").epoch == 2


def test_the_first_of_equal_epochs_is_kept_and_its_weights_are_restored():
    best = observe([logs(0.3), logs(0.2), logs(0.2), logs(0.4)])
    assert best.epoch == 1
    assert best.model.trainable_weights[0].numpy().item() == 4.0
    best.on_train_end()
    assert best.model.trainable_weights[0].numpy().item() == 2.0


def test_patience_counts_epochs_since_the_best():
    best = observe([logs(0.3), logs(0.2), logs(0.4), logs(0.2), logs(0.1)], patience=2)
    assert best.model.stop_training
    assert best.model.trainable_weights[0].numpy().item() == 4.0  # the fifth epoch was not run
    assert not observe([logs(0.3), logs(0.2), logs(0.4), logs(0.2), logs(0.1)], patience=3).model.stop_training


def test_a_phase_ends_when_the_training_loss_says_that_nothing_is_left_to_learn(caplog):
    """With easy images validation gets a little better in each of a hundred epochs."""
    epochs = [logs(0.1 - number / 1000, loss=0.002 if number < 4 else 0.0009) for number in range(20)]
    with caplog.at_level("INFO", "tlkeras"):
        best = observe(epochs, learned=0.001)
        best.on_train_end()
        best.on_train_end()
    assert best.done and best.epoch == 4 and best.model.trainable_weights[0].numpy().item() == 5.0
    assert caplog.messages == ["Early stopping: the training loss was below 0.001."]
    assert observe(epochs).epoch == 19
    assert observe(epochs, learned=0.001, start_from_epoch=7).epoch == 7
    assert not observe([logs(0.5 - number / 10, loss=-0.3) for number in range(9)]).done  # a loss of one's own


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("name", "split"), [("loss", "training"), ("val_loss", "validation")])
def test_a_loss_that_is_not_finite_ends_the_phase(name, split, value):
    callback = TerminateOnNaN("Lower it.")
    callback.set_model(one_weight())
    callback.on_epoch_end(0, logs(0.3))
    with pytest.raises(UserError, match=rf"the {split} loss became {value} in epoch 2\. Lower it\."):
        callback.on_epoch_end(1, logs(0.2) | {name: value})


def test_rows_of_both_phases_are_one_table():
    rows = []
    for phase, epoch in (("frozen", 0), ("finetune", 1)):
        callback = HistoryLogger(rows, phase)
        callback.set_model(types.SimpleNamespace(optimizer=keras.optimizers.SGD(0.25)))
        callback.set_params({"steps": 3})
        for batch, rate in enumerate((0.1, 0.5, 0.0)):
            callback.model.optimizer.learning_rate = rate
            callback.on_train_batch_begin(batch)
        callback.on_epoch_end(epoch, {"loss": np.float32(0.5), "val_loss": 0.75})
    assert rows == [
        {"phase": "frozen", "epoch": 1, "learning_rate": 0.5, "loss": 0.5, "val_loss": 0.75},
        {"phase": "finetune", "epoch": 2, "learning_rate": 0.5, "loss": 0.5, "val_loss": 0.75},
    ]


def shown(monkeypatch, capsys, seconds: list[float], epochs: list[dict], terminal: bool = False, last: int = 10) -> str:
    """Return what is printed of epochs of two steps each, when the clock shows these seconds."""
    clock = iter(seconds)
    monkeypatch.setattr("tlkeras.training.callbacks.time.perf_counter", lambda: next(clock))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    progress = EpochProgress(examples=3546, batch_size=1773, unit="img/s", title="Phase 1", last_epoch=last)
    progress.set_params({"steps": 2})
    for number, values in enumerate(epochs):
        progress.on_epoch_begin(number)
        for step in range(2):
            progress.on_train_batch_end(step, {"loss": values["loss"], "accuracy": 0.25})
        progress.on_epoch_end(number, values)
    progress.on_train_end()
    return capsys.readouterr().out


def test_an_epoch_is_a_line_with_speed_and_time_left(monkeypatch, capsys):
    seen = shown(
        monkeypatch,
        capsys,
        [0.0, 9.0, 10.0, 11.0, 20.0, 21.0, 22.0, 23.0],
        [logs(0.158, 0.9612, 0.2119), logs(12345.0)],
    )
    assert seen.splitlines() == [
        "Epoch  1/10 loss 0.212 val_loss 0.158 val_accuracy 0.961 1,773 img/s ETA 0:27",
        "Epoch  2/10 loss 1.000 val_loss 1.23e+04 val_accuracy 0.500 ETA 0:24",
    ]


def test_a_terminal_shows_an_epoch_from_its_first_step_on(monkeypatch, capsys):
    seen = shown(monkeypatch, capsys, [0.0, 9.0, 10.0, 11.0], [logs(0.158)], terminal=True, last=1)
    assert seen == (
        "\r\033[KEpoch 1/1 …"
        "\r\033[KEpoch 1/1 2/2 loss 1.000 accuracy 0.250 1,773 img/s"
        "\r\033[KEpoch 1/1 loss 1.000 val_loss 0.158 val_accuracy 0.500 1,773 img/s\n"
    )


def test_of_many_quick_epochs_every_second_or_fifth_has_a_line(monkeypatch, capsys):
    ticks = [0.1 * number for number in range(400)]
    seen = shown(monkeypatch, capsys, ticks, [logs(0.5)] * 92, last=100)
    assert [int(line.split("/")[0].split()[1]) for line in seen.splitlines()] == [1, *range(5, 93, 5), 92]
    slow = shown(monkeypatch, capsys, [10 * tick for tick in ticks], [logs(0.5)] * 92, last=100)
    assert len(slow.splitlines()) == 92


def test_what_others_print_between_quick_epochs_has_a_line_of_its_own(monkeypatch, capsys):
    seen = shown(monkeypatch, capsys, [0.1 * tick for tick in range(400)], [logs(0.5)] * 3, terminal=True, last=100)
    assert seen.count("\n") == 2  # the first one and the last
    assert "\r\033[K\r\033[KEpoch   3" in seen  # the line of the second one is erased
    failed = shown(
        monkeypatch, capsys, [0.1 * tick for tick in range(400)], [logs(0.5), logs(0.5), logs(np.nan)], last=100
    )
    assert [line.split("/")[0] for line in failed.splitlines()] == ["Epoch   1", "Epoch   3"]


@pytest.mark.parametrize("more", [(), ("val_top_5_accuracy", "val_precision", "val_recall")])
def test_a_line_fits_a_terminal_of_80_columns(monkeypatch, capsys, more):
    values = logs(0.158) | dict.fromkeys(more, 0.123)
    (line,) = shown(monkeypatch, capsys, [0.0, 0.02, 0.03, 9000.0], [values], last=1000).splitlines()
    assert len(line) < 80 and line.endswith(" val_loss 0.158 val_accuracy 0.500 ETA 2497:29:50")
