"""Read one sound: a WAV file or its bytes -> samples of one channel. The only place that opens sounds."""

import warnings
from io import BytesIO
from math import ceil, gcd
from pathlib import Path

import numpy as np

from tlkeras.data.example import DecodeError

MAX_BYTES = 200_000_000  # of a file: 19 minutes of a CD, 100 of speech
RATES = (1_000, 192_000)  # samples a second
OPEN_ENDED = (0, 2**32 - 1)  # what a header says that was written before the sound

# A file is read, or it is set aside with a reason; remarks about its other parts would only fill the terminal.
warnings.filterwarnings("ignore", message=r"Chunk \(non-data\) not understood|Reached EOF prematurely")


def read_sound(source: Path | bytes, samples: int, rate: int) -> np.ndarray:
    """Reads the beginning of a sound, its channels mixed to one, resampled, silence behind it where it is short.

    Args:
        source: A WAV file, or its content: whole numbers of 8, 16, 24 or 32 bits, or floating-point numbers.
        samples: How many are wanted.
        rate: Samples a second that are wanted.

    Returns:
        A float32 array `(samples,)` with values from -1 to 1.

    Raises:
        Unreadable: The sound cannot be decoded, is empty, or has more than `MAX_BYTES`.
    """
    own, values = _decode(source)
    values = _mono(values[: ceil(samples * own / rate) + 1])
    if own != rate:
        from scipy.signal import resample_poly  # here, as the import takes half a second

        common = gcd(own, rate)
        values = resample_poly(values, rate // common, own // common)
    result = np.zeros(samples, np.float32)
    result[: len(values)] = np.clip(values[:samples], -1, 1)
    return result


def seconds_of(source: Path | bytes) -> float:
    """Returns the length of a sound in seconds.

    Raises:
        Unreadable: As `read_sound`.
    """
    rate, values = _decode(source)
    return len(values) / rate


def _decode(source: Path | bytes) -> tuple[int, np.ndarray]:
    """Returns the samples a second and the samples, `(N,)` or `(N, channels)`, as they are in the file."""
    from scipy.io import wavfile

    try:
        content = source if isinstance(source, bytes) else _read(source)
    except OSError as error:
        raise DecodeError((error.strerror or str(error)).lower()) from error
    if len(content) > MAX_BYTES:
        raise DecodeError(f"larger than {MAX_BYTES // 10**6} MB")
    if not content:
        raise DecodeError("empty file")
    size = int.from_bytes(content[4:8], "little")
    if content[:4] == b"RIFF" and size not in OPEN_ENDED and size + 8 > len(content) + 1:  # a last odd byte may lack
        raise DecodeError("cut off")
    try:
        rate, values = wavfile.read(BytesIO(content))
    except Exception as error:  # of many kinds where files are damaged
        raise DecodeError("not a valid WAV sound") from error
    if not RATES[0] <= rate <= RATES[1]:
        raise DecodeError(f"{rate:,} samples a second")
    if not len(values):
        raise DecodeError("empty")
    return rate, values


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _mono(values: np.ndarray) -> np.ndarray:
    """Mixes channels, and brings whole numbers to -1 to 1; 24 bits are the upper ones of 32."""
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / 128 - 1
    elif values.dtype.kind == "i":
        values = values.astype(np.float32) / 2.0 ** (8 * values.dtype.itemsize - 1)
    values = np.nan_to_num(values.astype(np.float32))
    return values.mean(axis=1) if values.ndim == 2 else values
