"""Decode image files inside a TensorFlow graph, as `tlkeras.modalities.image` does with Pillow.

What differs is measured by `benchmarks/export_bytes.py`.
"""

from collections.abc import Callable

import tensorflow as tf

HEAD_BYTES = 2**17  # of a JPEG, in which its orientation is looked for: a segment has at most 2**16
EXIF, ORIENTATION = b"Exif\0\0", 0x0112
DEEP_GRAY = b"\x10\x00"  # of the header of a PNG: 16 bits, gray
ANIMATED = 2  # of the flags of a WebP (RFC 9649)
GIF_CONTROL = b"\x21\xf9\x04"  # comes before the flags of an image, of which the lowest says that a color is clear
WHITE = 255.0


def decode(content: tf.Tensor, gray_range: tuple[int, int] | None = None) -> tf.Tensor:
    """Return the pixels of a JPEG, PNG, WebP, GIF (its first frame) or BMP, float32 RGB `(H, W, 3)`, 0–255.

    An image is turned upright by its EXIF orientation, transparency of PNG and WebP is composited on white, and in gray
    PNGs of 16 bits `gray_range` is black and white. What is damaged fails when it runs, and so do an animated WebP,
    which may end TensorFlow's process, and a GIF with a transparent color, which TensorFlow does not tell.
    """
    start = tf.strings.substr(content, 0, 12)
    is_jpeg = tf.strings.substr(start, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(start, 0, 4) == b"\x89PNG"
    is_webp = tf.strings.substr(start, 8, 4) == b"WEBP"
    is_gif = tf.strings.substr(start, 0, 3) == b"GIF"
    is_bmp = tf.strings.substr(start, 0, 2) == b"BM"
    return tf.case(
        [
            (is_jpeg, lambda: decode_jpeg(content)),
            (is_png, lambda: turn_upright(decode_png(content, gray_range), after(content, b"eXIf"))),
            (is_webp, lambda: decode_webp(content)),
            (is_gif, lambda: decode_gif(content)),
            (is_bmp, lambda: decode_bmp(content)),
        ],
        default=lambda: unless(True, "This is no JPEG, PNG, WebP, GIF or BMP.", lambda: tf.zeros((1, 1, 3))),
    )


def unless(refused: tf.Tensor | bool, message: str, call: Callable[[], tf.Tensor]) -> tf.Tensor:
    """Return what is called, or fail with a message before it is."""
    with tf.control_dependencies([tf.debugging.Assert(tf.logical_not(refused), [message])]):
        return call()


def after(content: tf.Tensor, mark: bytes, skipped: int = 0) -> tf.Tensor:
    """Return what comes after the first of some bytes in a file, and after so many more; nothing where they are not."""
    parts = tf.strings.split(content, mark, maxsplit=1)
    return tf.cond(
        tf.size(parts) > 1, lambda: tf.strings.substr(parts[1], skipped, HEAD_BYTES), lambda: tf.constant(b"")
    )


def byte(content: tf.Tensor, at: int) -> tf.Tensor:
    """Return one byte of a file as a number."""
    return tf.cast(tf.io.decode_raw(tf.strings.substr(content, at, 1), tf.uint8), "int32")[0]


def decode_webp(content: tf.Tensor) -> tf.Tensor:
    """Return a WebP as RGB, upright; one with a frame only."""
    extended = tf.strings.substr(content, 12, 4) == b"VP8X"
    animated = extended & (byte(content, 20) // ANIMATED % 2 == 1)
    exif = after(content, b"EXIF", skipped=4)  # its length
    exif = tf.cond(tf.strings.substr(exif, 0, 6) == EXIF, lambda: tf.strings.substr(exif, 6, HEAD_BYTES), lambda: exif)
    pixels = unless(animated, "Animated WebP files are not decoded.", lambda: tf.io.decode_webp(content)[0])
    return turn_upright(on_white(pixels), tf.where(extended, exif, b""))


def decode_gif(content: tf.Tensor) -> tf.Tensor:
    """Return the first frame of a GIF as RGB."""
    flags = tf.strings.join([after(content, GIF_CONTROL), b"\0"])
    message = "GIFs with a transparent color are not decoded."
    return unless(
        byte(flags, 0) % 2 == 1,
        message,
        lambda: tf.cast(tf.io.decode_image(content, 3, expand_animations=False), "float32"),
    )


def decode_bmp(content: tf.Tensor) -> tf.Tensor:
    """Return a BMP as RGB; one of 8 bits has a palette of blue, green, red and nothing after its second header."""
    size = byte(content, 14)

    def indexed() -> tf.Tensor:
        palette = tf.io.decode_raw(tf.strings.substr(content, 14 + size, 4 * 256), tf.uint8)
        palette = tf.reshape(tf.pad(palette, [[0, 4 * 256 - tf.size(palette)]]), (256, 4))[:, 2::-1]
        return tf.gather(palette, tf.cast(tf.io.decode_bmp(content)[..., 0], "int32"))

    pixels = tf.cond(byte(content, 28) == 8, indexed, lambda: tf.io.decode_image(content, 3, expand_animations=False))
    return tf.cast(pixels, "float32")


def decode_png(content: tf.Tensor, gray_range: tuple[int, int] | None) -> tf.Tensor:
    """Return a PNG as RGB; 16-bit gray by the range, whose fractions are dropped, or by its upper 8 bits."""

    def plain() -> tf.Tensor:
        is_clear = tf.size(tf.strings.split(content, b"tRNS", maxsplit=1)) > 1  # one color is transparent
        pixels = tf.cond(is_clear, lambda: tf.io.decode_png(content, 4), lambda: tf.io.decode_png(content))
        return on_white(pixels)  # with opacity where it has some

    if gray_range is None:
        return plain()
    black, white = gray_range

    def deep() -> tf.Tensor:
        values = tf.cast(tf.io.decode_png(content, channels=1, dtype=tf.uint16), "float32")
        gray = tf.floor(tf.clip_by_value((values - black) * (WHITE / (white - black)), 0.0, WHITE))
        return tf.repeat(gray, 3, axis=-1)

    return tf.cond(tf.strings.substr(content, 24, 2) == DEEP_GRAY, deep, plain)


def on_white(pixels: tf.Tensor) -> tf.Tensor:
    """Composite gray or RGB pixels with opacity, `(H, W, 2)` or `(H, W, 4)`, on white; return RGB, float32."""
    count = tf.shape(pixels)[-1]
    pixels = tf.cast(pixels, "float32")
    plain = pixels[..., : count - 1 + count % 2] * tf.ones(3)
    opacity = pixels[..., -1:] / WHITE
    return tf.cond(count % 2 == 0, lambda: tf.round(plain * opacity + WHITE * (1.0 - opacity)), lambda: plain)


def decode_jpeg(content: tf.Tensor) -> tf.Tensor:
    """Return a JPEG as RGB, upright; with this method it is Pillow's to the bit."""
    pixels = tf.cast(tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"), "float32")
    return turn_upright(pixels, jpeg_exif(content))


def turn_upright(pixels: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
    """Turn pixels `(H, W, 3)` as EXIF data say."""
    turned = orientation(exif)
    pixels = tf.cond(turned >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    mirrored = (turned == 2) | (turned == 3) | (turned == 6) | (turned == 7)
    upside_down = (turned == 3) | (turned == 4) | (turned == 7) | (turned == 8)
    pixels = tf.cond(mirrored, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cond(upside_down, lambda: tf.reverse(pixels, [0]), lambda: pixels)


def numbers(content: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, Callable[[tf.Tensor, int, tf.Tensor | bool], tf.Tensor]]:
    """Return the bytes of a file, how many they are, and what reads some of them, wherever, as a number."""
    found = tf.cast(tf.io.decode_raw(content, tf.uint8), "int32")
    size, data = tf.size(found), tf.pad(found, [[0, 16]])  # so that all that is looked at is there, in a cut file too

    def number(at: tf.Tensor, count: int, little: tf.Tensor | bool) -> tf.Tensor:
        """Return `count` bytes as a number, the least one first where `little`."""
        at = tf.clip_by_value(at, 0, size)
        powers = tf.constant([256**power for power in range(count)], "int32")
        return tf.reduce_sum(data[at : at + count] * tf.where(little, powers, powers[::-1]))

    return data, size, number


def jpeg_exif(content: tf.Tensor) -> tf.Tensor:
    """Return the EXIF data of a JPEG, which is a chain of segments, each with its length; nothing where it has none."""
    data, size, number = numbers(tf.strings.substr(content, 0, HEAD_BYTES))

    def is_exif(at: tf.Tensor) -> tf.Tensor:
        return (data[at + 1] == 0xE1) & tf.reduce_all(data[at + 4 : at + 10] == tf.constant(list(EXIF)))

    (at,) = tf.while_loop(
        lambda at: (at < size) & (data[at] == 0xFF) & (data[at + 1] != 0xDA) & ~is_exif(at),  # 0xDA: here are pixels
        lambda at: [tf.minimum(at + tf.where(data[at + 1] == 0xFF, 1, 2 + number(at + 2, 2, False)), size)],
        [tf.constant(2)],
    )  # 0xFF before a mark fills
    return tf.cond(is_exif(at), lambda: tf.strings.substr(content, tf.minimum(at + 10, size), HEAD_BYTES), lambda: b"")


def orientation(exif: tf.Tensor) -> tf.Tensor:
    """Return the orientation in EXIF data, 1 to 8; 1 where they say none.

    They are the header of a TIFF file and a table of twelve bytes for each entry (CIPA DC-008).
    """
    data, size, number = numbers(exif)
    little = data[0] == ord("I")
    table = tf.clip_by_value(number(tf.constant(4), 4, little), 0, size)
    count = tf.minimum(number(table, 2, little), tf.maximum(size - table - 2, 0) // 12)
    entries = tf.reshape(data[table + 2 : table + 2 + 12 * count], [-1, 12])
    pair = tf.where(little, [1, 256], [256, 1])
    tags, values = (tf.reduce_sum(entries[:, first : first + 2] * pair, axis=1) for first in (0, 8))
    value = tf.reduce_max(tf.concat([tf.where(tags == ORIENTATION, values, 0), [0]], axis=0))
    return tf.where((value >= 1) & (value <= 8), value, 1)
