"""Audio: decode a WAV file or its bytes to samples of one channel. The only place that opens audio files."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from math import ceil, gcd
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from tlkeras.backbones.spec import BackboneSpec
from tlkeras.errors import UserError
from tlkeras.modalities.base import DecodeError, Modality, read_bytes

SAMPLE_RATE = 16_000  # samples per second, what most audio modules were trained on
SECONDS = (0.01, 600.0)  # minimum and maximum length of a clip
MAX_DEFAULT_SECONDS = 10.0
MAX_BYTES = 200_000_000  # of a file: 19 minutes of a CD, 100 of speech
FILE_RATES = (1_000, 192_000)  # samples per second
UNKNOWN_SIZES = (0, 2**32 - 1)  # in the header of a file that was streamed

# A file is decoded, or it is skipped with a reason: SciPy's warnings about other chunks of it add nothing.
warnings.filterwarnings("ignore", message=r"Chunk \(non-data\) not understood|Reached EOF prematurely")


@dataclass(frozen=True)
class AudioModality(Modality):
    """Audio of one channel, cut or padded to `samples`, at `rate` samples per second: float32 `(samples,)`, -1 to 1."""

    samples: int
    rate: int

    name: ClassVar = "audio"
    singular: ClassVar = "audio clip"
    plural: ClassVar = "audio clips"
    dtype: ClassVar = "float32"
    suffixes: ClassVar = frozenset((".wav",))
    folder_example: ClassVar = "birds/robin/1.wav and birds/wren/2.wav"
    glob_example: ClassVar = "'birds/*.wav'"
    throughput_unit: ClassVar = "clips/s"
    finite_hint: ClassVar = "Give more --seconds."

    def __str__(self) -> str:
        return f"audio clips of {self.samples:,} samples"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.samples,)

    def read(self, source: Path | bytes) -> np.ndarray:
        return read_audio(source, self.samples, self.rate)

    def options(self) -> dict[str, Any]:
        return {"sample_rate": self.rate, "seconds": self.samples / self.rate}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        seconds, rate = config["seconds"], config["sample_rate"]
        if not (isinstance(seconds, float | int) and 0 < seconds <= SECONDS[1] and isinstance(rate, int)):
            raise TypeError
        if not 0 < rate < 10**6:
            raise TypeError
        return cls(round(seconds * rate), rate)

    @classmethod
    def resolve(cls, spec: BackboneSpec, options: Mapping[str, Any], sample: Callable[[Callable], list]) -> Self:
        """Take the backbone's length, else the one that was asked for, else the median, at most ten seconds."""
        rate, seconds, samples = options.get("sample_rate") or SAMPLE_RATE, options.get("seconds"), spec.max_size
        if samples is None:
            default = min(MAX_DEFAULT_SECONDS, max(SECONDS[0], float(np.median(sample(read_seconds) or [0.0])) or 1.0))
            return cls(max(1, round((seconds or default) * rate)), rate)
        takes = f"{spec.name} takes {samples:,} samples, {samples / rate:g} seconds at {rate:,} samples per second"
        if seconds is not None and round(seconds * rate) != samples:
            raise UserError(f"--seconds was {seconds}; {takes}. Leave it out, or give another --sample-rate.")
        if not SECONDS[0] <= samples / rate <= SECONDS[1]:
            raise UserError(
                f"{takes}; audio clips may have {SECONDS[0]} to {SECONDS[1]:g}. Give the --sample-rate that the module "
                "was trained on, or another module."
            )
        return cls(samples, rate)

    @classmethod
    def check_shape(cls, given: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
        if wanted not in ((None,), given):
            raise UserError(
                f"The audio clips have {given[0]:,} samples and the model takes {wanted[0]:,}: give other seconds, or "
                "another sample_rate."
            )


def read_audio(source: Path | bytes, samples: int, rate: int) -> np.ndarray:
    """Decode the beginning of a WAV file as float32 `(samples,)`, -1 to 1, at `rate` samples per second.

    Channels are averaged; there are zeros behind what is short.
    """
    own_rate, values = _decode(source)
    values = _mono(values[: ceil(samples * own_rate / rate) + 1])
    if own_rate != rate:
        from scipy.signal import resample_poly  # here, as the import takes half a second

        common = gcd(own_rate, rate)
        values = resample_poly(values, rate // common, own_rate // common)
    result = np.zeros(samples, np.float32)
    result[: len(values)] = np.clip(values[:samples], -1, 1)
    return result


def read_seconds(source: Path | bytes) -> float:
    """Return the length of an audio clip in seconds."""
    rate, values = _decode(source)
    return len(values) / rate


def _decode(source: Path | bytes) -> tuple[int, np.ndarray]:
    """Return the samples per second and the samples, `(N,)` or `(N, channels)`, as they are in the file."""
    from scipy.io import wavfile

    content = source if isinstance(source, bytes) else read_bytes(source, count=MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DecodeError(f"larger than {MAX_BYTES // 10**6} MB")
    if not content:
        raise DecodeError("empty file")
    size = int.from_bytes(content[4:8], "little")
    is_short = size + 8 > len(content) + 1  # the padding byte at the end may be missing
    if content[:4] == b"RIFF" and size not in UNKNOWN_SIZES and is_short:
        raise DecodeError("cut off")
    try:
        rate, values = wavfile.read(BytesIO(content))
    except Exception as error:  # of many kinds where files are damaged
        raise DecodeError("not a valid WAV file") from error
    if not FILE_RATES[0] <= rate <= FILE_RATES[1]:
        raise DecodeError(f"{rate:,} samples per second")
    if not len(values):
        raise DecodeError("empty")
    return rate, values


def _mono(values: np.ndarray) -> np.ndarray:
    """Average channels, and scale integers to -1 to 1; 24 bits are the upper ones of 32."""
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / 128 - 1
    elif values.dtype.kind == "i":
        values = values.astype(np.float32) / 2.0 ** (8 * values.dtype.itemsize - 1)
    values = np.nan_to_num(values.astype(np.float32))
    return values.mean(axis=1) if values.ndim == 2 else values
