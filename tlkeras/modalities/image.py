"""Images: decode a file or its bytes to an RGB 8-bit square. The only place that opens image files."""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self, get_args

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tlkeras.backbones.spec import BackboneSpec, check_image_size
from tlkeras.config.fields import Resize
from tlkeras.errors import UserError, first_sentence
from tlkeras.modalities.base import DecodeError, Modality

MAX_MEGAPIXELS = 150  # Pillow itself refuses above 178
REDUCING_GAP = 2  # a JPEG is reduced to this many times the wanted size or more; 1 is little faster and blurs
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
MAX_UPSCALING = 8  # tiny images are enlarged at most this much by default: 8-pixel digits to 64 pixels, not to 224
MAX_SIZE = 4096
WHITES = (1, 255, 1023, 4095, 16383, 65535)  # of float images, and of 8 to 16 bits
MIN_SEEN = 2 / 3  # fraction of the area that the center square should hold
log = logging.getLogger("tlkeras")

# A file is decoded, or it is skipped with a reason: Pillow's warnings about odd EXIF data and large images add nothing.
for _category in (UserWarning, RuntimeWarning):
    warnings.filterwarnings("ignore", category=_category, module=r"PIL\.")


@dataclass(frozen=True)
class ImageModality(Modality):
    """RGB images of `size` pixels, uint8 `(size, size, 3)`, 0–255."""

    size: int
    gray_range: tuple[int, int] | None = None  # black and white in gray images of more than 8 bits, where known
    resize: Resize = "crop"  # how an image becomes a square, see `box_size`

    name: ClassVar = "image"
    singular: ClassVar = "image"
    plural: ClassVar = "images"
    dtype: ClassVar = "uint8"
    suffixes: ClassVar = frozenset((".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"))
    folder_example: ClassVar = "flowers/daisy/1.jpg and flowers/rose/2.jpg"
    glob_example: ClassVar = "'photos/*.jpg'"
    throughput_unit: ClassVar = "img/s"
    augmentable: ClassVar = True
    skips_others: ClassVar = True

    def __str__(self) -> str:
        return f"images of {self.size} px"

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.size, self.size, 3)

    def read(self, source: Path | bytes | np.ndarray) -> np.ndarray:
        return decode(source, self.size, self.gray_range, self.resize)

    def thumbnail(self, row: np.ndarray, side: int) -> np.ndarray:
        image = Image.fromarray(row)
        return gray_thumbnail(without_bars(image) if self.resize == "pad" else image, side)

    def thumbnails(self, inputs: Any, side: int) -> np.ndarray:
        with ThreadPool() as pool:
            grays = pool.imap(lambda row: self.thumbnail(inputs[row], side), range(len(inputs)), 64)
            return np.stack([np.empty((side, side), np.uint8), *grays])[1:]

    def options(self) -> dict[str, Any]:
        gray = list(self.gray_range) if self.gray_range else None
        return {"image_size": self.size, "gray_range": gray, "resize": self.resize}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        size = config["image_size"]
        if not isinstance(size, int) or not 1 <= size <= MAX_SIZE:
            raise TypeError
        gray, resize = config.get("gray_range"), config.get("resize", "crop")  # earlier versions had neither
        if resize not in get_args(Resize) or (gray is not None and not (isinstance(gray, list) and is_range(gray))):
            raise TypeError
        return cls(size, tuple(gray) if gray else None, resize)

    @classmethod
    def resolve(cls, spec: BackboneSpec, options: Mapping[str, Any], sample: Callable[[Callable], list]) -> Self:
        """Take the size that was asked for, else the backbone's own, or less where the images are tiny.

        Take black and white of gray images from the sample, the same for all: two scenes of different brightness stay
        different.
        """
        size, gray, resize = (options.get(name) for name in ("image_size", "gray_range", "resize"))
        check_image_size(spec, size)
        if gray is not None and not is_range(gray):
            raise UserError(f"--gray-range was {gray}; give black and white, two rising numbers such as [0,4095].")
        seen: list[Glance] = sample(glance)
        if size is None:
            size = spec.default_size
            if seen:
                size = min(size, max(spec.min_size, MAX_UPSCALING * int(np.median([one.side for one in seen]))))
        if resize == "crop" and seen and (fraction := np.median([one.square for one in seen])) < MIN_SEEN:
            log.info("Note: only the center square of an image is used, here %.0f%% of its area (median of a sample). "
                     "Where the rest matters, give --resize pad or squash.", 100 * fraction)  # fmt: skip
        if gray is None and (extremes := [one.gray for one in seen if one.gray]):
            gray = find_gray_range(min(low for low, _ in extremes), max(high for _, high in extremes))
            log.info("Note: of gray images with more than 8 bits %d is black and %d is white, by the values of a "
                     "sample; --gray-range [BLACK,WHITE] sets others.", *gray)  # fmt: skip
        return cls(size, tuple(gray) if gray else None, "crop" if resize == "auto" else resize or "crop")

    @classmethod
    def check_shape(cls, given: tuple[int, ...], wanted: tuple[int | None, ...]) -> None:
        if len(given) != 3 or given[-1] != 3:
            missing = "" if len(given) == 3 else "[..., None]"
            raise UserError(
                f"The images have the shape {given} and the model takes {wanted}, RGB. Gray images get three channels "
                f"with numpy.repeat(images{missing}, 3, axis=-1)."
            )
        if given != wanted:
            size = f"{given[0]} pixels a side" if given[0] == given[1] else f"{given[0]} x {given[1]} pixels"
            raise UserError(
                f"The images have {size} and the model takes {wanted[0]}: give the same image_size to prepare_data and "
                "to the builder."
            )

    @classmethod
    def from_shape(cls, shape: tuple[int, ...], resize: Resize = "crop") -> Self:
        return cls(shape[0], resize=resize)

    @classmethod
    def from_memory(cls, examples: Sequence[Any]) -> list[np.ndarray]:
        return pixels_0_255(examples)

    @classmethod
    def to_rows(cls, inputs: Any) -> Any:
        return inputs if inputs.dtype == cls.dtype else np.stack(pixels_0_255(inputs))


def pixels_0_255(images: Sequence[Any]) -> list[np.ndarray]:
    """Return arrays or Pillow images as uint8 RGB `(H, W, 3)`; refuse other pixels, which would be learned silently."""
    # Pillow's modes I and F hold any range, as arrays do.
    arrays = [
        np.asarray(to_rgb(image) if isinstance(image, Image.Image) and image.mode[0] not in "IF" else image)
        for image in images
    ]
    kinds = {str(array.dtype) for array in arrays}
    if wrong := sorted(kind for kind in kinds if np.dtype(kind).kind not in "uif"):
        found = type(images[0]).__name__ if wrong[0] == "object" else f"of dtype {wrong[0]}"
        raise UserError(
            f"The images are {found}. Give Pillow images, or arrays of pixels from 0 to 255, uint8 or float."
        )
    for array in arrays:
        low, high = array.min(initial=0), array.max(initial=0)
        if not (low >= 0 and high <= 255):  # NaN as well
            raise UserError(f"The pixels ({array.dtype}) go from {low:g} to {high:g}. Give them from 0 to 255.")
        if array.dtype.kind == "f" and 0 < high <= 1:
            raise UserError("The pixels go from 0 to 1. Give them from 0 to 255: multiply by 255.")
    return [_three_channels(array) for array in arrays]


def _three_channels(array: np.ndarray) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3):
        raise UserError(f"An image has the shape {array.shape}. Give RGB images (H, W, 3), or gray ones (H, W).")
    pixels = array if array.dtype == np.uint8 else np.rint(array).astype(np.uint8)
    return np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels


class Glance(NamedTuple):
    """What an image is like, by its header, and its least and largest gray value where it has more than 8 bits."""

    side: int  # the shorter one, in pixels
    square: float  # fraction of the area that the center square holds
    gray: tuple[float, float] | None


def glance(source: Path | bytes | np.ndarray) -> Glance:
    """Look at an image, and decode it only where it is gray with more than 8 bits."""
    with opened(source) as image:
        gray = None
        if is_deep_gray(image):
            values = np.asarray(image)
            values = values[np.isfinite(values)]
            gray = (float(values.min()), float(values.max())) if values.size else None
        return Glance(min(image.size), min(image.size) / max(image.size), gray)


def is_deep_gray(image: Image.Image) -> bool:
    """Return whether an image is gray with 16-bit or 32-bit integers, or floats."""
    return image.mode == "F" or image.mode.startswith("I")


def is_range(values: Any) -> bool:
    """Return whether values are two rising whole numbers."""
    return len(values) == 2 and all(isinstance(value, int) for value in values) and values[0] < values[1]


def find_gray_range(low: float, high: float) -> tuple[int, int]:
    """Return black and white for values from `low` to `high`: 0 and what the bits that they need can hold.

    Scanners and microscopes write 10, 12 or 14 bits into files of 16. Where values are negative, as in computed
    tomography, they are black and white themselves; a little beyond a bound comes from resampling and is clipped.
    """
    if low < -0.1 * high:
        return math.floor(low), max(math.ceil(high), math.floor(low) + 1)
    return 0, next((white for white in WHITES if high < white + 1), math.ceil(high))


def read_rgb(source: Path | bytes | np.ndarray, gray_range: Sequence[int] | None = None) -> Image.Image:
    """Decode an image at full size, upright, as RGB 0–255.

    Transparency is composited on white, of an animation the first frame is taken, the EXIF orientation is applied.
    16-bit color keeps its upper 8 bits, and so does gray where `gray_range`, its black and white, is not known;
    floating-point gray is then taken as 0–1 where no value is larger, else as 0–255.
    """
    with opened(source) as image:
        return _rgb(_upright(image), gray_range)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an open image upright, as RGB 0–255, as `read_rgb` does."""
    return _rgb(_upright(image))


def box_size(width: int, height: int, resize: Resize) -> tuple[int, int]:
    """Return width and height of the box about an image's center that becomes its square, in pixels of the image.

    With "crop" that is the largest square in it, with "squash" the whole image; with "pad" it goes beyond the image, by
    as much on both sides, as the box of Keras' layer does.
    """
    if resize == "crop":
        return min(width, height), min(width, height)
    if resize == "pad":
        side = max(width, height)
        return side - (side - width) % 2, side - (side - height) % 2
    return width, height


def resize_to_square(image: Image.Image, size: int, resize: Resize = "crop") -> np.ndarray:
    """Make an RGB image uint8 `(size, size, 3)`, bilinear with antialiasing; what pads it is black.

    Equal to the layer of `tlkeras.models.backbone.resized_input` but for rounding.
    """
    width, height = box_size(*image.size, resize)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    # Cropping first: resize(box=...) would blend in pixels from outside the square. Outside the image it is black.
    cropped = image.crop((left, top, left + width, top + height))
    return np.asarray(cropped.resize((size, size), Image.Resampling.BILINEAR))


def without_bars(image: Image.Image) -> Image.Image:
    """Cut off black bars, in which all images look alike, and the line of pixels in which they and the image blend."""
    left, top, right, bottom = image.getbbox() or (0, 0, *image.size)
    x, y = left > 0 and right - left > 2, top > 0 and bottom - top > 2
    return image.crop((left + x, top + y, right - x, bottom - y))


def gray_thumbnail(image: Image.Image, side: int) -> np.ndarray:
    """Return an image in gray, squeezed into a small square, uint8 `(side, side)`."""
    # The blocks that BOX makes of tiny images would look like detail.
    how = Image.Resampling.BOX if min(image.size) >= side else Image.Resampling.BILINEAR
    return np.asarray(image.convert("L").resize((side, side), how))


def decode(
    source: Path | bytes | np.ndarray, size: int, gray_range: tuple[int, int] | None = None, resize: Resize = "crop"
) -> np.ndarray:
    """Decode an image to its square: `read_rgb` and `resize_to_square` in one, and faster for large JPEGs.

    `gray_range` is what is black and white in gray images of more than 8 bits.

    A JPEG decodes at 1/2, 1/4 or 1/8 of its size for a fraction of the time. The smallest of these that keeps what
    becomes a side of the square at twice `size` or more is used: about one gray level from the full decode on
    photographs.
    """
    with opened(source) as image:
        full, box = np.array(image.size), np.array(box_size(*image.size, resize))
        wanted = np.maximum(1, REDUCING_GAP * size * full // box)
        image.draft(None, tuple(wanted.tolist()))  # does nothing for other formats
        scale = round(full[0] / image.width)
        if scale == 1:
            return resize_to_square(_rgb(_upright(image), gray_range), size, resize)
        # The square seldom begins at a whole pixel of the reduced image; rounding would shift the content.
        first = (full - box) / 2
        beside = np.ceil(np.maximum(0, -first) / scale).astype(int)  # black pixels, on each side of the reduced image
        reduced = image.convert("RGB").crop((*-beside, *(image.size + beside)))
        part = (*(first / scale + beside), *((first + box) / scale + beside))
        reduced = reduced.resize((size, size), Image.Resampling.BILINEAR, box=part)
        return np.asarray(_upright(reduced))


@contextmanager
def opened(source: Path | bytes | np.ndarray) -> Iterator[Image.Image]:
    """Open an image; whatever is wrong with the file, now or while it is decoded, becomes a DecodeError."""
    if isinstance(source, np.ndarray):  # RGB 0–255, in memory
        yield Image.fromarray(source)
        return
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
        return "empty file" if is_empty else "not a valid JPEG, PNG, WebP, GIF, BMP or TIFF image"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()  # no such file or directory, permission denied
    if "truncated" in str(error).lower() or isinstance(error, EOFError):
        return "truncated"
    return f"damaged ({first_sentence(error)})"


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation in place."""
    image.load()
    # Odd EXIF data make it fail, though the pixels are fine: without knowing the orientation, or after applying it.
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return image


def _rgb(image: Image.Image, gray_range: Sequence[int] | None = None) -> Image.Image:
    if gray_range and is_deep_gray(image):
        black, white = gray_range
        return _gray((np.nan_to_num(np.asarray(image).astype(np.float64), nan=black) - black) * 255 / (white - black))
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
    """Return an array `(height, width)` of values 0–255 as RGB; fractions are dropped, values outside clipped."""
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).convert("RGB")
