"""Files are decoded in the graph as Pillow decodes them for training."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tlkeras.export.encoded import decode, jpeg_exif, orientation
from tlkeras.modalities import image as pillow

RANGE = (0, 4095)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    return coarse.resize((61, 47), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def in_graph():
    return tf.function(lambda content: decode(content, RANGE), [tf.TensorSpec((), "string")], autograph=False)


def encode(image: Image.Image, format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def with_opacity(image: Image.Image) -> Image.Image:
    image = image.convert("RGBA")
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def deep_color(image: Image.Image) -> bytes:
    """Return a PNG of 16 bits for each color, which Pillow can read and not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.asarray(image).astype("uint16") * 256 + 77)
    header = struct.pack(">IIBBBBB", *image.size, 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


def exif(value: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x010F], tags[0x0112] = "a maker", value
    return tags


CASES = {
    "jpeg": lambda photo: encode(photo, "JPEG"),
    "jpeg of quality 30": lambda photo: encode(photo, "JPEG", quality=30),
    "jpeg, full color": lambda photo: encode(photo, "JPEG", subsampling=0),
    "jpeg, progressive": lambda photo: encode(photo, "JPEG", progressive=True),
    "jpeg, CMYK": lambda photo: encode(photo.convert("CMYK"), "JPEG"),
    "jpeg, gray": lambda photo: encode(photo.convert("L"), "JPEG"),
    **{f"jpeg, turned {value}": lambda photo, value=value: encode(photo, "JPEG", exif=exif(value))
       for value in range(1, 9)},
    "jpeg, turned 6, bytes that fill": lambda photo: (encode(photo, "JPEG", exif=exif(6))
                                                      .replace(b"\xff\xe1", b"\xff\xff\xff\xe1", 1)),
    "png": lambda photo: encode(photo, "PNG"),
    "png, turned 6": lambda photo: encode(photo, "PNG", exif=exif(6)),
    "png, a transparent color": lambda photo: encode(photo, "PNG", transparency=photo.getpixel((3, 3))),
    "png, gray, transparent": lambda photo: encode(photo.convert("L"), "PNG", transparency=120),
    "png, 1 bit, transparent": lambda photo: encode(photo.convert("1"), "PNG", transparency=1),
    "png, palette": lambda photo: encode(photo.convert("P"), "PNG"),
    "png, palette of 4 bits": lambda photo: encode(photo.quantize(9), "PNG", bits=4),
    "png, palette with a transparent color": lambda photo: encode(photo.quantize(9), "PNG", bits=4, transparency=2),
    "png, 1 bit": lambda photo: encode(photo.convert("1"), "PNG"),
    "png, gray": lambda photo: encode(photo.convert("L"), "PNG"),
    "png, opacity": lambda photo: encode(with_opacity(photo), "PNG"),
    "png, gray with opacity": lambda photo: encode(with_opacity(photo).convert("LA"), "PNG"),
    "png, 16-bit gray": lambda photo: encode(Image.fromarray(np.asarray(photo.convert("L")).astype("uint16") * 17),
                                             "PNG"),
    "png, 16-bit color": deep_color,
    "webp": lambda photo: encode(photo, "WEBP"),
    "webp, opacity": lambda photo: encode(with_opacity(photo), "WEBP", lossless=True),
    "webp, turned 3": lambda photo: encode(photo, "WEBP", exif=exif(3)),
    "webp, opacity, turned 8": lambda photo: encode(with_opacity(photo), "WEBP", lossless=True, exif=exif(8)),
    "gif": lambda photo: encode(photo, "GIF"),
    "gif, animated": lambda photo: encode(photo, "GIF", save_all=True, append_images=[photo.rotate(90)]),
    "bmp": lambda photo: encode(photo, "BMP"),
    "bmp, gray": lambda photo: encode(photo.convert("L"), "BMP"),
    "bmp, palette": lambda photo: encode(photo.convert("P"), "BMP"),
    "bmp, palette of few colors": lambda photo: encode(photo.quantize(40), "BMP"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_pixels_are_those_of_pillow(in_graph, photo, case):
    content = CASES[case](photo)
    with pillow.opened(content) as image:
        expected = np.asarray(pillow._rgb(pillow._upright(image), RANGE))
    assert expected.std() > 10  # it is not blank
    np.testing.assert_array_equal(in_graph(content), expected)


@pytest.mark.parametrize("case", ["jpeg, turned 6", "png", "webp", "gif"])
def test_what_is_cut_fails_and_nothing_else(in_graph, photo, case):
    content = CASES[case](photo)
    for length in (0, 1, 3, 11, 12, 25, len(content) // 2):
        with pytest.raises((tf.errors.InvalidArgumentError, UnicodeDecodeError)):  # the latter where it is quoted
            in_graph(content[:length])


@pytest.mark.parametrize(
    ("format", "options", "message"),
    [
        ("WEBP", {"save_all": True, "append_images": [Image.new("RGB", (64, 48))], "lossless": True}, "Animated WebP"),
        ("GIF", {"transparency": 3}, "GIFs with a transparent color"),
        ("TIFF", {}, "no JPEG, PNG, WebP, GIF or BMP"),
    ],
)
def test_what_would_be_decoded_otherwise_is_refused(in_graph, photo, format, options, message):
    content = encode(
        photo.resize((64, 48)).quantize(9) if format == "GIF" else photo.resize((64, 48)), format, **options
    )
    with pytest.raises((tf.errors.InvalidArgumentError, UnicodeDecodeError), match=message):
        in_graph(content)


def test_damaged_exif_data_never_fail(photo):
    rng, content = np.random.default_rng(0), CASES["jpeg, turned 6"](photo)
    call = tf.function(lambda content: orientation(jpeg_exif(content)), [tf.TensorSpec((), "string")], autograph=False)
    assert call(content) == 6
    for _ in range(200):
        damaged = bytearray(content[: rng.integers(4, 150)])
        for at in rng.integers(2, len(damaged), 4):
            damaged[at] = rng.integers(256)
        assert 1 <= call(bytes(damaged)) <= 8
