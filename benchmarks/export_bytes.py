"""What the byte signature of a SavedModel gives for files of every odd kind, against Pillow and the trained model.

    python benchmarks/export_bytes.py DATA RUN

DATA is a folder of images, from which 40 files of each of 33 kinds are made; RUN is a run of images. For each kind:
the largest difference of a pixel between the graph's decoder and Pillow's at full size, the largest difference of a
probability between the signature "encoded" and `tlkeras.predict`, and how many files get another label.
"""

import argparse
import io
import struct
import tempfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import tlkeras
from tlkeras.modalities.image import read_rgb
from tlkeras.run.export import export
from tlkeras.run.load_run import load_run

EACH = 40
SUFFIXES = {"JPE": "jpg", "PNG": "png", "Web": "webp", "GIF": "gif", "BMP": "bmp"}


def save(image: Image.Image, number: int, format: str, mode: str = "RGB", **options) -> bytes:
    file = io.BytesIO()
    image.convert(mode).save(file, format, **options)
    return file.getvalue()


def turned(image: Image.Image, number: int, format: str) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = 2 + number % 7
    return save(image, number, format, exif=tags)


def with_opacity(image: Image.Image, number: int, format: str, mode: str = "RGBA", **options) -> bytes:
    clear = image.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").rotate(90 * number).resize(image.size))
    return save(clear, number, format, mode, **options)


def palette(image: Image.Image, number: int, format: str = "PNG", **options) -> bytes:
    return save(image.quantize(16), number, format, "P", bits=4, **options)


def deep_gray(image: Image.Image, number: int) -> bytes:
    deep = np.asarray(image.convert("L")).astype("uint16") * 257 + number
    return save(Image.fromarray(deep), number, "PNG", "I;16")


def deep_color(image: Image.Image, number: int) -> bytes:
    """Return a PNG of 16 bits for each color, which Pillow reads and does not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.asarray(image).astype("uint16") * 256 + number)
    header = struct.pack(">IIBBBBB", *image.size, 16, 2, 0, 0, 0)
    found = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        found += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return found


def enlarged(image: Image.Image, number: int) -> bytes:
    return save(image.resize((4 * image.width, 4 * image.height), Image.Resampling.BICUBIC), number, "JPEG")


def animated(image: Image.Image, number: int, format: str) -> bytes:
    return save(image, number, format, save_all=True, append_images=[image.rotate(180)])


def clear_color(image: Image.Image, number: int) -> bytes:
    color = image.convert("RGB").getpixel((number, number))
    return save(image, number, "PNG", transparency=color)


KINDS: dict[str, Callable[[Image.Image, int], bytes]] = {
    "JPEG, quality 75": partial(save, format="JPEG"),
    "JPEG, quality 95, full color": partial(save, format="JPEG", quality=95, subsampling=0),
    "JPEG, quality 20": partial(save, format="JPEG", quality=20),
    "JPEG, progressive": partial(save, format="JPEG", progressive=True),
    "JPEG, gray": partial(save, format="JPEG", mode="L"),
    "JPEG, CMYK": partial(save, format="JPEG", mode="CMYK"),
    "JPEG, EXIF orientation": partial(turned, format="JPEG"),
    "JPEG, 4 times as large": enlarged,
    "PNG": partial(save, format="PNG"),
    "PNG, gray": partial(save, format="PNG", mode="L"),
    "PNG, 1 bit": partial(save, format="PNG", mode="1"),
    "PNG, 256 colors": partial(save, format="PNG", mode="P"),
    "PNG, 16 colors": palette,
    "PNG, a transparent color": partial(palette, transparency=3),
    "PNG, color, a transparent one": clear_color,
    "PNG, gray, a transparent level": partial(save, format="PNG", mode="L", transparency=100),
    "PNG, 1 bit, transparent": partial(save, format="PNG", mode="1", transparency=1),
    "PNG, opacity": partial(with_opacity, format="PNG"),
    "PNG, gray, opacity": partial(with_opacity, format="PNG", mode="LA"),
    "PNG, 16-bit gray": deep_gray,
    "PNG, 16-bit color": deep_color,
    "PNG, EXIF orientation": partial(turned, format="PNG"),
    "WebP": partial(save, format="WEBP"),
    "WebP, opacity": partial(with_opacity, format="WEBP"),
    "WebP, EXIF orientation": partial(turned, format="WEBP"),
    "WebP, animated": partial(animated, format="WEBP"),
    "GIF": partial(save, format="GIF"),
    "GIF, animated": partial(animated, format="GIF"),
    "GIF, a transparent color": partial(palette, format="GIF", transparency=3),
    "BMP": partial(save, format="BMP"),
    "BMP, gray": partial(save, format="BMP", mode="L"),
    "BMP, 256 colors": partial(save, format="BMP", mode="P"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of images")
    parser.add_argument("run", type=Path, help="folder that scripts/train.py wrote")
    options = parser.parse_args()
    photos = sorted(options.data.rglob("*.jpg"))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as temporary:
        artifact, _ = export(options.run, "saved-model", output=Path(temporary, "artifact"))
        print("| files | pixels | probabilities | other label | refused |\n|---|---|---|---|---|")
        for kind, make in KINDS.items():
            folder = Path(temporary, kind)
            folder.mkdir()
            for number, index in enumerate(rng.choice(len(photos), EACH, replace=False)):
                with Image.open(photos[index]) as photo:
                    content = make(photo.convert("RGB"), number)
                (folder / f"{number:02}.{SUFFIXES[kind[:3]]}").write_bytes(content)
            compare(kind, sorted(folder.iterdir()), options.run, artifact)


def compare(kind: str, files: list[Path], run: Path, artifact: Path) -> None:
    """Print one row of the table."""
    import tensorflow as tf

    from tlkeras.export.encoded import decode

    loaded = tf.saved_model.load(str(artifact / "1")).signatures["encoded"]
    in_graph = tf.function(decode, [tf.TensorSpec((), "string")], autograph=False)
    classes, pixels, apart, other, refused = load_run(run).classes, 0.0, 0.0, 0, 0
    for file, prediction in zip(files, tlkeras.predict(run, files, top_k=len(load_run(run).classes)), strict=True):
        content, scores = file.read_bytes(), dict(prediction.scores)
        try:
            found = loaded(image_bytes=tf.constant([content]))
        except tf.errors.InvalidArgumentError:
            refused += 1
            continue
        expected, got = np.asarray(read_rgb(content)).astype("float32"), in_graph(content).numpy()
        same = expected.shape == got.shape
        pixels = max(pixels, float(np.abs(expected - got).max())) if same else np.inf
        difference = found["probabilities"].numpy()[0] - np.array([scores[name] for name in classes])
        apart = max(apart, float(np.abs(difference).max()))
        other += found["label"].numpy()[0].decode() != prediction.scores[0][0]
    shown = f"{pixels:g} | {apart:.2g} | {other} of {len(files) - refused}" if refused < len(files) else "| |"
    print(f"| {kind} | {shown} | {refused or ''} |", flush=True)


if __name__ == "__main__":
    main()
