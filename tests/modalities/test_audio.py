"""Sounds: WAV files of every kind as samples of one channel, and how long they are."""

from io import BytesIO

import numpy as np
import pytest
from scipy.io import wavfile

from tlkeras.backbones import HUB, get_backbone_spec
from tlkeras.config import DataOptions
from tlkeras.data import sounds
from tlkeras.data.example import DecodeError
from tlkeras.data.prepare import decode_data, find_data, sound_length
from tlkeras.errors import UserError
from tlkeras.modalities.audio import read_sound, seconds_of

RATE = 8000


def sine(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("float32")


def wav(values: np.ndarray, rate: int = RATE) -> bytes:
    file = BytesIO()
    wavfile.write(file, rate, values)
    return file.getvalue()


def of_24_bits(values: np.ndarray) -> bytes:
    """As `wav`, which scipy cannot write of 24 bits: the header of 32 bits, changed, and three bytes a sample."""
    words = np.round(values * (2**23 - 1)).astype("<i4")
    data = words.view("u1").reshape(-1, 4)[:, :3].tobytes()
    header = bytearray(wav(words)[:44])
    for place, size, number in ((4, 4, 36 + len(data)), (28, 4, 3 * RATE), (32, 2, 3), (34, 2, 24), (40, 4, len(data))):
        header[place : place + size] = number.to_bytes(size, "little")
    return bytes(header) + data


TYPE_NAMES = {
    "uint8": (lambda values: wav(np.round(values * 127 + 128).astype("uint8")), 1e-2),
    "int16": (lambda values: wav(np.round(values * 32767).astype("int16")), 1e-4),
    "24 bits": (of_24_bits, 1e-6),
    "int32": (lambda values: wav(np.round(values * (2.0**31 - 1)).astype("int32")), 1e-6),
    "float32": (wav, 1e-7),
    "float64": (lambda values: wav(values.astype("float64")), 1e-7),
    "stereo": (lambda values: wav(np.stack([values * 2, values * 0], axis=1)), 1e-7),
}


@pytest.mark.parametrize("kind", TYPE_NAMES)
def test_samples_of_every_kind_of_file(tmp_path, kind):
    write, tolerance = TYPE_NAMES[kind]
    (tmp_path / "one.wav").write_bytes(write(sine()))
    for source in (tmp_path / "one.wav", write(sine())):
        found = read_sound(source, len(sine()), RATE)
        assert (found.dtype, found.shape) == (np.float32, (4000,))
        np.testing.assert_allclose(found, sine(), atol=tolerance)
        assert seconds_of(source) == 0.5


def test_short_sounds_are_followed_by_silence_and_long_ones_are_cut():
    padded = read_sound(wav(sine()), 5000, RATE)
    assert (padded[4000:] == 0).all() and np.array_equal(padded[:4000], sine())
    assert np.array_equal(read_sound(wav(sine()), 1000, RATE), sine()[:1000])


@pytest.mark.parametrize("own", [4000, 11025, 16000, 44100])
def test_resampled_sounds_are_those_of_the_other_rate(own):
    found = read_sound(wav(sine(rate=own), own), 4000, RATE)
    np.testing.assert_allclose(found[200:-200], sine()[200:-200], atol=5e-3)


def test_values_outside_are_cut_and_no_numbers_are_silence():
    assert read_sound(wav(np.array([3.0, -2.0, np.nan, 0.5], "float32")), 4, RATE).tolist() == [1.0, -1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"no sound at all", "not a valid WAV sound"),
        (wav(sine())[:1000], "cut off"),
        (wav(np.zeros(0, "int16")), "empty|not a valid"),
        (wav(sine(), 10), "10 samples a second"),
        (wav(sine(), 10**6), "1,000,000 samples a second"),
    ],
)
def test_what_is_no_sound_is_set_aside_with_its_reason(content, reason):
    with pytest.raises(DecodeError, match=reason):
        read_sound(content, 100, RATE)


def test_a_file_that_is_too_large_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(sounds, "MAX_BYTES", 1000)
    (tmp_path / "one.wav").write_bytes(wav(sine()))
    with pytest.raises(DecodeError, match="larger than"):
        read_sound(tmp_path / "one.wav", 100, RATE)


@pytest.fixture
def tones(tmp_path) -> str:
    """Two classes of ten tones: nine of half a second and one of three seconds in each, and one file that is none."""
    for name, hertz in (("high", 900.0), ("low", 200.0)):
        (tmp_path / name).mkdir()
        for number in range(10):
            content = wav(sine(0.5 if number else 3.0, hertz=hertz))
            (tmp_path / name / f"{number}.wav").write_bytes(content)
    (tmp_path / "low" / "broken.wav").write_bytes(b"RIFF")
    return str(tmp_path)


def test_prepared_sounds(tones):
    options = DataOptions(data=tones, sample_rate=RATE)
    data = decode_data(find_data(options, HUB, None, 0), options, 0)
    assert (data.inputs.dtype, data.inputs.shape) == (np.float32, (20, 4000))
    assert (data.form.name, data.form.rate, data.form.seconds, data.image_size) == ("sounds", RATE, 0.5, None)
    assert [reason for _, reason in data.unreadable] == ["not a valid WAV sound"]


def test_sounds_that_do_not_fit_in_memory_lie_in_a_file(tones):
    options = DataOptions(data=tones, memory_gb=1e-5)
    data = decode_data(find_data(options, HUB, None, 0), options, 0)
    assert not isinstance(data.inputs, np.ndarray) and data.inputs.shape == (20, 8000)
    assert 0.4 < np.abs(data.inputs[np.arange(20)]).max() < 0.6


def test_the_length_is_the_modules_or_what_was_given_or_usual(tones):
    row = get_backbone_spec("hub_module")
    examples = find_data(DataOptions(data=tones), row, None, 0).source.examples
    assert sound_length(examples, row, 1000, None) == 500
    assert sound_length(examples, row, 1000, 2.0) == 2000
    fixed = type(row)(**(vars(row) | {"greatest_size": 700}))
    assert sound_length(examples, fixed, 1000, None) == sound_length(examples, fixed, 1000, 0.7) == 700
    with pytest.raises(UserError, match=r"--seconds was 2\.0; hub_module takes 700 samples, 0\.7 seconds at 1,000"):
        sound_length(examples, fixed, 1000, 2.0)
    for rate, seconds in ((192_000, "0.00364583"), (1, "700")):
        with pytest.raises(
            UserError, match=f"hub_module takes 700 samples, {seconds} seconds at .*Give the --sample-rate"
        ):
            sound_length(examples, fixed, rate, None)


def test_sounds_are_refused_where_the_backbone_takes_pictures(tones):
    with pytest.raises(UserError, match="holds no pictures, but 21 sounds"):
        find_data(DataOptions(data=tones), get_backbone_spec("MobileNetV2"), None, 0)
