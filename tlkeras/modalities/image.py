"""Decode one picture: a file or its bytes -> an RGB 8-bit square. The only place that opens pictures."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tlkeras.data.example import DecodeError

MAX_MEGAPIXELS = 150  # Pillow itself refuses above 178
REDUCING_GAP = 2  # a JPEG is reduced to this many times the wanted size or more; 1 is little faster and blurs
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# A file is read, or it is set aside with a reason; Pillow's remarks about odd EXIF data and large pictures
# would only fill the terminal.
for _category in (UserWarning, RuntimeWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"PIL\.")


def read_rgb(source: Path | bytes) -> Image.Image:
    """Decodes a picture at full size, upright, as RGB with values 0-255.

    Transparency is composited on white, of an animation the first frame is taken, the EXIF orientation is
    applied. 16-bit gray keeps its upper 8 bits, as 16-bit colour does; floating-point gray is taken as 0-1
    where no value is larger, else as 0-255.

    Args:
        source: A file, or its content, in one of `FORMATS`.

    Raises:
        Unreadable: The picture cannot be decoded, or has more than `MAX_MEGAPIXELS`.
    """
    with _opened(source) as image:
        return _rgb(_upright(image))


def center_crop_resize(image: Image.Image, size: int) -> np.ndarray:
    """Resizes the largest centre square of an RGB picture, bilinear with antialiasing.

    Equal to `keras.layers.Resizing(size, size, crop_to_aspect_ratio=True, antialias=True)` but for rounding.

    Returns:
        A uint8 array `(size, size, 3)` with values 0–255.
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    # Cropping first: resize(box=...) would blend in pixels from outside the square.
    cropped = image.crop((left, top, left + side, top + side))
    return np.asarray(cropped.resize((size, size), Image.Resampling.BILINEAR))


def decode(source: Path | bytes, size: int) -> np.ndarray:
    """Decodes the centre square of a picture: `read_rgb` and `square` in one, and faster for large JPEGs.

    A JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the time. The smallest of these that keeps
    the shorter side at twice `size` or more is used: about one grey level from the full decode on photographs.

    Args:
        source: A file, or its content, in one of `FORMATS`.
        size: Pixels a side.

    Returns:
        A uint8 array `(size, size, 3)` with RGB values 0–255.

    Raises:
        Unreadable: As `read_rgb`.
    """
    with _opened(source) as image:
        width, height = image.size
        image.draft(None, (REDUCING_GAP * size, REDUCING_GAP * size))  # does nothing for other formats
        scale = round(width / image.width)
        if scale == 1:
            return center_crop_resize(_rgb(_upright(image)), size)
        # The square seldom begins at a whole pixel of the reduced picture; rounding would shift the content.
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = tuple(edge / scale for edge in (left, top, left + side, top + side))
        reduced = image.convert("RGB").resize((size, size), Image.Resampling.BILINEAR, box=box)
        return np.asarray(_upright(reduced))


def read_size(source: Path | bytes) -> tuple[int, int]:
    """Returns width and height in pixels from the header, before EXIF orientation.

    Raises:
        Unreadable: The header cannot be read.
    """
    with _opened(source) as image:
        return image.size


def short_side(source: Path | bytes) -> int:
    """Returns the lesser of width and height in pixels, from the header.

    Raises:
        Unreadable: The header cannot be read.
    """
    return min(read_size(source))


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Opens a picture; whatever is wrong with the file, now or while it is decoded, becomes Unreadable."""
    try:
        with Image.open(BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > MAX_MEGAPIXELS * 1e6:
                raise Image.DecompressionBombError
            yield image
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise DecodeError(_reason(source, error)) from error


def _reason(source: Path | bytes, error: Exception) -> str:
    if isinstance(error, Image.DecompressionBombError):
        return f"larger than {MAX_MEGAPIXELS} megapixels"
    if isinstance(error, UnidentifiedImageError):
        is_empty = not source if isinstance(source, bytes) else source.stat().st_size == 0
        return "empty file" if is_empty else "not a valid JPEG, PNG, WebP, GIF, BMP or TIFF picture"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()  # no such file or directory, permission denied
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "cut off"
    return f"damaged ({error or type(error).__name__})"


def _upright(image: Image.Image) -> Image.Image:
    """Turns the picture in place as its EXIF orientation says."""
    image.load()
    # Odd EXIF data make it fail, though the pixels are fine: without knowing the orientation, or after turning them.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        # I;16 in either byte order, and I, in which some files hold the same 16 bits.
        return _gray(np.asarray(image).astype(np.int64) / 256)
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        return _gray(values * 255 if values.max() <= 1 else values)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _gray(values: np.ndarray) -> Image.Image:
    """Turns an array (height, width) of values 0-255 into RGB; fractions are dropped, values outside clipped."""
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")
