"""Decoding: all images in one array, in order, without the unreadable ones."""

import io
import shutil
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tlkeras import progress
from tlkeras.data import loading, prepare, streaming
from tlkeras.data.example import Example
from tlkeras.data.loading import decode_all, sample
from tlkeras.data.quality import content_digests
from tlkeras.data.streaming import StreamedRows
from tlkeras.errors import UserError
from tlkeras.io.arrays import FileArray
from tlkeras.modalities import image
from tlkeras.modalities.base import SIDE, DecodeError
from tlkeras.modalities.image import ImageModality, glance


@pytest.fixture
def make(tmp_path):
    """Return a function that writes gray images of the levels 0, 1, 2, ..., some of them damaged."""

    def make(count: int, damaged=(), size=(12, 10)) -> list[Example]:
        examples = []
        for number in range(count):
            path = tmp_path / f"{number:03d}.png"
            Image.new("L", size, number % 256).save(path)
            if number in damaged:
                path.write_bytes(b"nothing")
            examples.append(Example(path.name, "a", None, path))
        return examples

    return make


def test_images_come_in_order(make):
    examples = make(100)
    decoded = decode_all(examples, ImageModality(6), 0.0)
    assert decoded.inputs.shape == (100, 6, 6, 3)
    assert decoded.inputs.dtype == np.uint8
    assert (decoded.inputs == np.arange(100).reshape(-1, 1, 1, 1)).all()
    assert (decoded.examples, decoded.unreadable) == (examples, [])


@pytest.mark.parametrize("in_memory", [True, False])
def test_unreadable_images_are_skipped(make, monkeypatch, in_memory):
    monkeypatch.setattr(loading, "MEMORY_FRACTION", loading.MEMORY_FRACTION * in_memory)
    damaged = {0, 7, 8, 29}
    examples = make(30, damaged)
    decoded = decode_all(examples, ImageModality(4), 0.2)
    good = [number for number in range(30) if number not in damaged]
    assert decoded.inputs[:, 0, 0, 0].tolist() == good
    assert decoded.examples == [examples[number] for number in good]
    assert [(example.name, reason.startswith("not a valid")) for example, reason in decoded.unreadable] == [
        (f"{number:03d}.png", True) for number in sorted(damaged)
    ]


def test_encoded_bytes_are_decoded_too(make):
    [example] = make(1)
    held = Example("train#0", "a", None, content=example.path.read_bytes())
    first, second = (decode_all([one], ImageModality(4), 0.0).inputs for one in (held, example))
    assert first.tolist() == second.tolist()


def test_too_many_unreadable_images(make):
    examples = make(30, damaged={3, 4, 5, 6})
    with pytest.raises(UserError, match=r"More than 10% of the 30 images.* 00\d.png: not a valid.*--max-unreadable"):
        decode_all(examples, ImageModality(4), 0.1)


def test_no_readable_image(make):
    with pytest.raises(UserError, match="None of the 5 images can be read"):
        decode_all(make(5, damaged=range(5)), ImageModality(4), 1.0)


def test_stops_as_soon_as_the_limit_is_passed(make, monkeypatch):
    read = []

    def slow_decode(source, size, *_):
        read.append(source)
        time.sleep(0.001)
        raise DecodeError("damaged")

    monkeypatch.setattr(image, "decode", slow_decode)
    with pytest.raises(UserError):
        decode_all(make(1) * 2000, ImageModality(4), 0.01)
    assert len(read) < 500


def test_large_data_go_to_a_file_that_leaves_nothing_behind(make, monkeypatch, tmp_path, caplog):
    caplog.set_level("INFO", logger="tlkeras")
    (tmp_path / "large").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "large"))
    monkeypatch.setattr(loading, "MEMORY_FRACTION", 0)
    decoded = decode_all(make(20), ImageModality(4), 0.0)
    assert isinstance(decoded.inputs, FileArray)
    assert decoded.inputs[:, 0, 0, 0].tolist() == list(range(20))
    assert "temporary file" in caplog.text
    assert list((tmp_path / "large").iterdir()) == []


def test_without_room_rows_are_decoded_when_they_are_asked_for(make, monkeypatch, caplog):
    caplog.set_level("INFO", logger="tlkeras")
    damaged = {0, 7, 8, 29}
    examples, modality = make(30, damaged), ImageModality(4)
    loaded = decode_all(examples, modality, 0.2)
    streamed = decode_all(examples, modality, 0.2, memory_gb=0, disk_gb=0)
    assert "0.0 GB of memory (--memory-gb) and the 0.0 GB in" in caplog.text
    assert (streamed.examples, streamed.unreadable) == (loaded.examples, loaded.unreadable)
    rows, expected = streamed.inputs, loaded.inputs
    assert isinstance(rows, StreamedRows) and (rows.shape, rows.dtype, len(rows)) == ((26, 4, 4, 3), np.uint8, 26)
    for asked in (3, np.int64(-1), slice(None), slice(20, 40), slice(5, 5), np.array([9, 2, 2]), np.array([], int)):
        np.testing.assert_array_equal(rows[asked], expected[asked])
    assert content_digests(rows) == content_digests(expected)
    np.testing.assert_array_equal(rows.thumbnails, modality.thumbnails(expected, SIDE))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5))
    assert isinstance(decode_all(examples, modality, 0.2, memory_gb=0).inputs, StreamedRows)


def test_a_streamed_run_holds_few_rows_however_many_there_are(make):
    (example,), modality = make(1, size=(200, 200)), ImageModality(200)
    examples = [example] * 400
    row = 200 * 200 * 3

    def peak(disk_gb: float) -> int:
        tracemalloc.start()
        rows = decode_all(examples, modality, 0.0, memory_gb=0 if disk_gb == 0 else 1, disk_gb=disk_gb).inputs
        for start in range(0, len(rows), 10):
            rows[start : start + 10]
        try:
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(disk_gb=1) > 400 * row  # loaded
    assert peak(disk_gb=0) < 60 * row  # streamed: what is read at once, and thumbnails


def test_an_image_that_goes_away_during_a_streamed_run_is_named(make):
    examples = make(3)
    rows = decode_all(examples, ImageModality(4), 0.0, memory_gb=0, disk_gb=0).inputs
    examples[1].path.unlink()
    with pytest.raises(UserError, match=r"001.png could be read when .*no such file or directory"):
        rows[:]


def test_very_many_images_are_not_compared_with_each_other(make, monkeypatch, caplog):
    caplog.set_level("INFO", logger="tlkeras")
    monkeypatch.setattr(streaming, "MAX_THUMBNAILS", 2)
    monkeypatch.setattr(prepare, "MAX_THUMBNAILS", 2)
    rows = decode_all(make(3), ImageModality(4), 0.0, memory_gb=0, disk_gb=0).inputs
    assert rows.thumbnails.nbytes == 0 and prepare._thumbnails(rows, ImageModality(4)).shape == (0, SIDE, SIDE)
    assert "more than 2 images are searched for equal ones only, not for near duplicates or blank" in caplog.text


def test_progress_is_shown_only_on_a_terminal(make, monkeypatch, capsys):
    monkeypatch.setattr(progress, "DELAY", 0)
    decode_all(make(3), ImageModality(4), 0.0)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    decode_all(make(3), ImageModality(4), 0.0)
    assert "Reading images: " in capsys.readouterr().err


def test_a_sample_leaves_out_what_cannot_be_read(make):
    examples = [*make(9, size=(40, 30)), Example("gone.png", "a", None, Path("gone.png"))]
    assert [(one.side, one.square, one.gray) for one in sample(examples, glance)] == [(30, 0.75, None)] * 9
    assert sample(make(3, damaged=range(3)), glance) == []


def test_a_sample_is_from_all_over_the_list(make):
    encoded = io.BytesIO()
    Image.new("L", (90, 90)).save(encoded, "PNG")
    large = [Example("large", "a", content=encoded.getvalue())]
    sides = [one.side for one in sample(make(1, size=(8, 8)) * 1000 + large * 3000, glance)]
    assert len(sides) == 50 and sides.count(8) in (12, 13)
