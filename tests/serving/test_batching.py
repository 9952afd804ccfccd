"""Examples that wait share a call of the model; errors and cancelled examples stay with those whom they concern."""

import threading
import time

import numpy as np
import pytest
from color_service import ColorModel

from tlkeras.serving.batching import Batcher

RED, BLUE = (np.full((16, 16, 3), color, "uint8") for color in ((250, 20, 20), (20, 20, 250)))


def ignore(*_: object) -> None: ...


def test_what_waits_shares_a_call():
    model = ColorModel(seconds=0.1)
    with Batcher(model.predictor(), 4, 0.02, ignore) as batcher:
        first = batcher.submit(RED)
        time.sleep(0.05)
        others = [batcher.submit(image) for image in (RED, BLUE) * 3]
        labels = [int(future.result(10).output.argmax()) for future in (first, *others)]
    assert labels == [0, *(0, 2) * 3] and model.batches == [1, 4, 2]


def test_an_idle_model_waits_for_others_a_little_while():
    model = ColorModel()
    with Batcher(model.predictor(), 8, 0.3, ignore) as batcher:
        futures = [batcher.submit(RED)]
        time.sleep(0.05)
        futures.append(batcher.submit(BLUE))
        assert [int(future.result(10).output.argmax()) for future in futures] == [0, 2]
    assert model.batches == [2]


def test_unsure_is_what_the_run_calls_so_and_batches_are_told():
    told = []
    with Batcher(ColorModel().predictor(), 8, 0.0, lambda *batch: told.append(batch)) as batcher:
        sure, unsure = (batcher.submit(image).result(10) for image in (RED, np.full((16, 16, 3), 128, "uint8")))
    assert (sure.unsure, unsure.unsure) == (False, True)
    assert [(len(outputs), features, doubt) for outputs, features, doubt in told] == [
        (1, None, [False]),
        (1, None, [True]),
    ]


def test_what_cannot_be_noted_is_answered_all_the_same(caplog):
    def fail(*_: object) -> None:
        raise OSError("no space")

    with Batcher(ColorModel().predictor(), 8, 0.0, fail) as batcher:
        assert [batcher.submit(RED).result(10).output.argmax() for _ in range(2)] == [0, 0]
    assert "A batch was not noted" in caplog.text


def test_cancelled_examples_are_left_out():
    model = ColorModel(seconds=0.2)
    with Batcher(model.predictor(), 8, 0.0, ignore) as batcher:
        first = batcher.submit(RED)
        time.sleep(0.05)
        second, third = batcher.submit(RED), batcher.submit(BLUE)
        assert second.cancel()
        assert int(third.result(10).output.argmax()) == 2 and first.result(10)
    assert model.batches == [1, 1]


def test_an_error_reaches_those_who_wait_and_the_next_batch_is_answered():
    class Failing(ColorModel):
        def outputs(self, images: np.ndarray) -> tuple[np.ndarray, None]:
            if len(self.batches) == 0:
                self.batches.append(0)
                raise MemoryError("no room")
            return super().outputs(images)

    with Batcher(Failing().predictor(), 8, 0.0, ignore) as batcher:
        with pytest.raises(MemoryError, match="no room"):
            batcher.submit(RED).result(10)
        assert batcher.submit(BLUE).result(10).output.argmax() == 2


def test_what_was_asked_before_the_end_is_answered():
    before = threading.active_count()
    with Batcher(ColorModel(seconds=0.05).predictor(), 2, 0.0, ignore) as batcher:
        futures = [batcher.submit(RED) for _ in range(5)]
    assert all(future.done() for future in futures) and threading.active_count() == before
