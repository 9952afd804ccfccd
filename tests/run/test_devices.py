"""How many devices train, and what is said of those that do not work together, before anything takes long."""

import pytest

from tlkeras.config.fields import check_values
from tlkeras.config.train import TrainConfig
from tlkeras.errors import UserError
from tlkeras.run import devices
from tlkeras.run.devices import check_devices, choose_devices


def never(*_, **__):
    raise AssertionError("this takes seconds, and was not needed")


@pytest.mark.parametrize(("given", "gpus"), [(1, 8), ("auto", 0), ("auto", 1)])
def test_one_device_is_not_tested(monkeypatch, given, gpus):
    monkeypatch.setattr(devices, "driver_gpus", lambda: ["a GPU"] * gpus)
    monkeypatch.setattr(devices, "check_devices", never)
    assert choose_devices(given, 32) == 1


@pytest.mark.parametrize(
    ("given", "works", "batch_size", "count", "said"),
    [
        ("auto", 4, 32, 4, "Devices: 4, each with 8 of the 32 examples of a batch."),
        ("auto", 1, 32, 1, ""),  # TensorFlow cannot use the others
        ("auto", 0, 32, 1, ""),
        ("auto", 8, 4, 4, "Devices: 4, each with 1 of the 4 examples of a batch."),
        (3, 3, 32, 3, "Devices: 3, each with at most 11 of the 32 examples of a batch."),
    ],
)
def test_several_devices(monkeypatch, caplog, given, works, batch_size, count, said):
    caplog.set_level("INFO", logger="tlkeras")
    monkeypatch.setattr(devices, "driver_gpus", lambda: ["a GPU"] * 8)
    monkeypatch.setattr(devices, "check_devices", lambda given: works)
    assert choose_devices(given, batch_size) == count
    assert caplog.messages == [said] * bool(said)


def test_more_devices_than_examples(monkeypatch):
    monkeypatch.setattr(devices, "check_devices", never)
    with pytest.raises(UserError, match="--devices was 4 and --batch-size 2; give each device at least one example"):
        choose_devices(4, 2)


def test_a_backbone_that_was_given_stays_where_it_is(monkeypatch):
    monkeypatch.setattr(devices, "driver_gpus", lambda: ["a GPU"] * 8)
    monkeypatch.setattr(devices, "check_devices", never)
    assert choose_devices("auto", 32, {"backbone": "mine"}) == 1
    with pytest.raises(UserError, match="--devices was 2, and backbone= is a model that was built on one"):
        choose_devices(2, 32, {"backbone": "mine"})


STAGE = "print('adding up over the devices', flush=True)\n"


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (STAGE + "import time; time.sleep(60)", "adding up over the devices took more than 2 seconds"),
        ("import time; time.sleep(60)", "loading TensorFlow took more than 2 seconds"),
        (STAGE + "raise MemoryError('ncclUnhandledCudaError')", "adding up over the devices failed: NCCL"),
        ("raise ValueError('OOM when allocating')", "loading TensorFlow failed: a GPU has too little free memory"),
        ("raise ValueError('peer access is not there')", "failed: the GPUs cannot reach each other's memory"),
        ("raise ValueError('Bad luck. It happens.')", "failed: Bad luck. --devices 1 trains on one."),
        ("", "failed: it does not say why. --devices 1 trains on one."),
    ],
)
def test_what_is_wrong_is_said(monkeypatch, program, said):
    monkeypatch.setattr(devices, "PROGRAM", program)
    with pytest.raises(UserError) as error:
        check_devices(2, seconds=2)
    assert said in str(error.value) and str(error.value).endswith("--devices 1 trains on one.")


def test_a_mistake_is_said_as_it_is(monkeypatch):
    program = "from tlkeras.errors import UserError; raise UserError('There are none.')"
    monkeypatch.setattr(devices, "PROGRAM", program)
    with pytest.raises(UserError, match=r"^There are none\.$"):
        check_devices(2)


def test_two_logical_devices_pass(monkeypatch):
    monkeypatch.setenv("TLKERAS_CPU_DEVICES", "2")
    assert check_devices(2) == 2


# [part: learning-curve]
def test_a_learning_curve_trains_on_one():
    from tlkeras.config.learning_curve import LearningCurveConfig

    with pytest.raises(UserError, match="--devices was 2; a learning curve trains on one device"):
        LearningCurveConfig(data="pets", devices=2).check()


# [/part]
def test_what_the_option_takes():
    for given in ("auto", 1, 64):
        check_values(TrainConfig(data="pets", devices=given))
    for given in (0, "two", 65):
        with pytest.raises(UserError, match=f"--devices was {given}; it must be auto or a whole number from 1 to 64"):
            check_values(TrainConfig(data="pets", devices=given))
