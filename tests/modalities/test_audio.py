"""Audio: WAV files of every kind as samples of one channel, and how long they are."""

import dataclasses
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from scipy.io import wavfile

from tlkeras.backbones.registry import get_backbone_spec
from tlkeras.config.data import DataOptions
from tlkeras.data.loading import sample
from tlkeras.data.prepare import decode_data, find_data
from tlkeras.errors import UserError
from tlkeras.extras.hub.spec import module_spec
from tlkeras.modalities import audio
from tlkeras.modalities.audio import AudioModality, read_audio, read_seconds
from tlkeras.modalities.base import DecodeError

HUB = dataclasses.replace(module_spec("hub:any"), modality="audio", folder=Path("any"))  # as if resolved
RATE = 8000


def sine(seconds: float = 0.5, rate: int = RATE, hertz: float = 440.0) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype("float32")


def wav(values: np.ndarray, rate: int = RATE) -> bytes:
    file = BytesIO()
    wavfile.write(file, rate, values)
    return file.getvalue()


def wav_24_bits(values: np.ndarray) -> bytes:
    """Do what `wav` cannot, as SciPy does not write 24 bits: the header of 32 bits, changed, and 3 bytes per sample."""
    words = np.round(values * (2**23 - 1)).astype("<i4")
    data = words.view("u1").reshape(-1, 4)[:, :3].tobytes()
    header = bytearray(wav(words)[:44])
    for start, size, value in ((4, 4, 36 + len(data)), (28, 4, 3 * RATE), (32, 2, 3), (34, 2, 24), (40, 4, len(data))):
        header[start : start + size] = value.to_bytes(size, "little")
    return bytes(header) + data


KINDS = {
    "uint8": (lambda values: wav(np.round(values * 127 + 128).astype("uint8")), 1e-2),
    "int16": (lambda values: wav(np.round(values * 32767).astype("int16")), 1e-4),
    "24 bits": (wav_24_bits, 1e-6),
    "int32": (lambda values: wav(np.round(values * (2.0**31 - 1)).astype("int32")), 1e-6),
    "float32": (wav, 1e-7),
    "float64": (lambda values: wav(values.astype("float64")), 1e-7),
    "stereo": (lambda values: wav(np.stack([values * 2, values * 0], axis=1)), 1e-7),
}


@pytest.mark.parametrize("kind", KINDS)
def test_samples_of_every_kind_of_file(tmp_path, kind):
    write, tolerance = KINDS[kind]
    (tmp_path / "one.wav").write_bytes(write(sine()))
    for source in (tmp_path / "one.wav", write(sine())):
        found = read_audio(source, len(sine()), RATE)
        assert (found.dtype, found.shape) == (np.float32, (4000,))
        np.testing.assert_allclose(found, sine(), atol=tolerance)
        assert read_seconds(source) == 0.5


def test_short_audio_is_padded_with_zeros_and_long_audio_is_cut():
    padded = read_audio(wav(sine()), 5000, RATE)
    assert (padded[4000:] == 0).all() and np.array_equal(padded[:4000], sine())
    assert np.array_equal(read_audio(wav(sine()), 1000, RATE), sine()[:1000])


@pytest.mark.parametrize("own", [4000, 11025, 16000, 44100])
def test_resampled_audio_is_that_of_the_other_rate(own):
    found = read_audio(wav(sine(rate=own), own), 4000, RATE)
    np.testing.assert_allclose(found[200:-200], sine()[200:-200], atol=5e-3)


def test_values_outside_are_clipped_and_nan_is_zero():
    assert read_audio(wav(np.array([3.0, -2.0, np.nan, 0.5], "float32")), 4, RATE).tolist() == [1.0, -1.0, 0.0, 0.5]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"no audio at all", "not a valid WAV file"),
        (wav(sine())[:1000], "cut off"),
        (wav(np.zeros(0, "int16")), "empty|not a valid"),
        (wav(sine(), 10), "10 samples per second"),
        (wav(sine(), 10**6), "1,000,000 samples per second"),
    ],
)
def test_what_is_not_audio_is_refused_with_its_reason(content, reason):
    with pytest.raises(DecodeError, match=reason):
        read_audio(content, 100, RATE)


def test_a_file_that_is_too_large_is_not_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(audio, "MAX_BYTES", 1000)
    (tmp_path / "one.wav").write_bytes(wav(sine()))
    with pytest.raises(DecodeError, match="larger than"):
        read_audio(tmp_path / "one.wav", 100, RATE)


@pytest.fixture
def tones(tmp_path) -> str:
    """Write two classes of ten tones, nine of half a second and one of three seconds, and one file that is damaged."""
    for name, hertz in (("high", 900.0), ("low", 200.0)):
        (tmp_path / name).mkdir()
        for number in range(10):
            content = wav(sine(0.5 if number else 3.0, hertz=hertz))
            (tmp_path / name / f"{number}.wav").write_bytes(content)
    (tmp_path / "low" / "broken.wav").write_bytes(b"RIFF")
    return str(tmp_path)


def test_prepared_audio(tones):
    options = DataOptions(data=tones, sample_rate=RATE)
    data = decode_data(find_data(options, HUB, None, 0), options, 0)
    assert (data.inputs.dtype, data.inputs.shape) == (np.float32, (20, 4000))
    assert (data.modality, data.image_size) == (AudioModality(4000, RATE), None)
    assert data.modality.options() == {"sample_rate": RATE, "seconds": 0.5}
    assert [reason for _, reason in data.unreadable] == ["not a valid WAV file"]


def test_audio_that_does_not_fit_in_memory_is_in_a_file(tones):
    options = DataOptions(data=tones, memory_gb=1e-5)
    data = decode_data(find_data(options, HUB, None, 0), options, 0)
    assert not isinstance(data.inputs, np.ndarray) and data.inputs.shape == (20, 8000)
    assert 0.4 < np.abs(data.inputs[np.arange(20)]).max() < 0.6


def test_the_length_is_the_modules_or_what_was_given_or_the_median(tones):
    examples = find_data(DataOptions(data=tones), HUB, None, 0).listing.examples

    def samples(spec, rate: int, seconds: float | None) -> int:
        options = {"sample_rate": rate, "seconds": seconds}
        return AudioModality.resolve(spec, options, partial(sample, examples)).samples

    assert samples(HUB, 1000, None) == 500
    assert samples(HUB, 1000, 2.0) == 2000
    assert samples(HUB, None, None) == 8000
    fixed = dataclasses.replace(HUB, max_size=700)
    assert samples(fixed, 1000, None) == samples(fixed, 1000, 0.7) == 700
    with pytest.raises(UserError, match=r"--seconds was 2\.0; hub:any takes 700 samples, 0\.7 seconds at 1,000"):
        samples(fixed, 1000, 2.0)
    for rate, seconds in ((192_000, "0.00364583"), (1, "700")):
        words = f"hub:any takes 700 samples, {seconds} seconds at .*Give the --sample-rate"
        with pytest.raises(UserError, match=words):
            samples(fixed, rate, None)


def test_the_default_length_is_at_most_ten_seconds():
    def resolve(median: float | None) -> AudioModality:
        return AudioModality.resolve(HUB, {}, lambda measure: [] if median is None else [median])

    assert [resolve(median).options()["seconds"] for median in (60.0, 2.0, 0.0, None)] == [10.0, 2.0, 1.0, 1.0]


def test_audio_is_refused_where_the_backbone_takes_images(tones):
    with pytest.raises(UserError, match="holds 21 audio clips, but no images"):
        find_data(DataOptions(data=tones), get_backbone_spec("MobileNetV2"), None, 0)


def test_the_modality_of_a_run():
    modality = AudioModality(700, 1000)
    assert AudioModality.from_config({"data": "birds", **modality.options()}) == modality
    assert (str(modality), modality.shape) == ("audio clips of 700 samples", (700,))
    for damaged in ({"seconds": "long"}, {"seconds": 601}, {"sample_rate": 10**6}, {"sample_rate": 1e3}):
        with pytest.raises(TypeError):
            AudioModality.from_config(modality.options() | damaged)
    with pytest.raises(KeyError):
        AudioModality.from_config({"seconds": 1})


def test_the_length_must_be_what_a_model_takes():
    AudioModality.check_shape((100,), (None,))
    AudioModality.check_shape((600,), (600,))
    with pytest.raises(UserError, match="The audio clips have 1,000 samples and the model takes 600"):
        AudioModality.check_shape((1000,), (600,))
