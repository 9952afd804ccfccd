"""Decode image files inside a TensorFlow graph, as `tlkeras.modalities.image` does with Pillow.

What differs is measured by `benchmarks/export_bytes.py`.
"""

import tensorflow as tf

HEAD_BYTES = 2**17  # of a JPEG, in which its orientation is looked for: a segment has at most 2**16
EXIF, ORIENTATION = b"Exif\0\0", 0x0112
DEEP_GRAY = b"\x10\x00"  # of the header of a PNG: 16 bits, gray
WHITE = 255.0


def decode(content: tf.Tensor, gray_range: tuple[int, int] | None = None) -> tf.Tensor:
    """Return the pixels of a JPEG, PNG, WebP, GIF (its first frame) or BMP, float32 RGB `(H, W, 3)`, 0–255.

    A JPEG is turned upright by its EXIF orientation, transparency of PNG and WebP is composited on white, and in gray
    PNGs of 16 bits `gray_range` is black and white. What is damaged fails when it runs.
    """
    start = tf.strings.substr(content, 0, 12)
    is_jpeg = tf.strings.substr(start, 0, 3) == b"\xff\xd8\xff"
    is_png = tf.strings.substr(start, 0, 4) == b"\x89PNG"
    is_webp = tf.strings.substr(start, 8, 4) == b"WEBP"
    return tf.case(
        [
            (is_jpeg, lambda: decode_jpeg(content)),
            (is_png, lambda: decode_png(content, gray_range)),
            (is_webp, lambda: on_white(tf.io.decode_webp(content)[0])),
        ],
        default=lambda: tf.cast(tf.io.decode_image(content, 3, expand_animations=False), "float32"),
    )


def decode_png(content: tf.Tensor, gray_range: tuple[int, int] | None) -> tf.Tensor:
    """Return a PNG as RGB; 16-bit gray by the range, whose fractions are dropped, or by its upper 8 bits."""

    def plain() -> tf.Tensor:
        return on_white(tf.io.decode_png(content))  # with opacity where it has some

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
    turned = orientation(content)
    pixels = tf.cond(turned >= 5, lambda: tf.transpose(pixels, [1, 0, 2]), lambda: pixels)
    mirrored = (turned == 2) | (turned == 3) | (turned == 6) | (turned == 7)
    upside_down = (turned == 3) | (turned == 4) | (turned == 7) | (turned == 8)
    pixels = tf.cond(mirrored, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cond(upside_down, lambda: tf.reverse(pixels, [0]), lambda: pixels)


def orientation(content: tf.Tensor) -> tf.Tensor:
    """Return the EXIF orientation of a JPEG, 1 to 8; 1 where it says none.

    A JPEG is a chain of segments, each with its length; that of EXIF holds the header of a TIFF file and a table of
    twelve bytes for each entry (CIPA DC-008).
    """
    head = tf.cast(tf.io.decode_raw(tf.strings.substr(content, 0, HEAD_BYTES), tf.uint8), "int32")
    size = tf.size(head)
    data = tf.pad(head, [[0, 16]])  # so that all that is looked at is there, in a cut file too

    def number(at: tf.Tensor, count: int, little: tf.Tensor | bool) -> tf.Tensor:
        """Return `count` bytes as a number, the least one first where `little`."""
        at = tf.clip_by_value(at, 0, size)
        powers = tf.constant([256**power for power in range(count)], "int32")
        return tf.reduce_sum(data[at : at + count] * tf.where(little, powers, powers[::-1]))

    def is_exif(at: tf.Tensor) -> tf.Tensor:
        return (data[at + 1] == 0xE1) & tf.reduce_all(data[at + 4 : at + 10] == tf.constant(list(EXIF)))

    (at,) = tf.while_loop(
        lambda at: (at < size) & (data[at] == 0xFF) & (data[at + 1] != 0xDA) & ~is_exif(at),  # 0xDA: here are pixels
        lambda at: [tf.minimum(at + 2 + number(at + 2, 2, False), size)],
        [tf.constant(2)],
    )
    tiff = tf.minimum(at + 10, size)
    little = data[tiff] == ord("I")
    table = tf.clip_by_value(tiff + number(tiff + 4, 4, little), 0, size)
    count = tf.minimum(number(table, 2, little), tf.maximum(size - table - 2, 0) // 12)
    entries = tf.reshape(data[table + 2 : table + 2 + 12 * count], [-1, 12])
    pair = tf.where(little, [1, 256], [256, 1])
    tags, values = (tf.reduce_sum(entries[:, first : first + 2] * pair, axis=1) for first in (0, 8))
    value = tf.reduce_max(tf.concat([tf.where(tags == ORIENTATION, values, 0), [0]], axis=0))
    return tf.where(is_exif(at) & (value >= 1) & (value <= 8), value, 1)
