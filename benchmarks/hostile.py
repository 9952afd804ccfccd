"""What benchmarks/serve.py sends to hurt a service: each attack is bytes, and how they are sent."""

import io
import random
import struct
import zlib
from collections.abc import Callable

from PIL import Image

BOUNDARY = b"0123456789abcdef"
FORM = b"multipart/form-data; boundary=" + BOUNDARY


def request(body: bytes, kind: bytes = FORM, path: bytes = b"/predict", length: int | None = None) -> bytes:
    """Return a POST request; its header may lie about the length."""
    return b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (
        path, kind, len(body) if length is None else length, body,
    )  # fmt: skip


def form(*contents: bytes) -> bytes:
    """Return a form with files."""
    head = b'--%s\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' % BOUNDARY
    return b"".join(head + content + b"\r\n" for content in contents) + b"--%s--\r\n" % BOUNDARY


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return a file with a few bytes changed, and perhaps cut."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 30)):
        changed[rng.randrange(len(changed) if rng.random() < 0.5 else min(len(changed), 600))] = rng.randrange(256)
    return bytes(changed[: rng.randint(1, len(changed))] if rng.random() < 0.3 else changed)


def png(width: int, height: int, content: bytes) -> bytes:
    """Return a PNG of 8-bit RGB whose header promises that many pixels."""

    def chunk(kind: bytes, inside: bytes) -> bytes:
        return struct.pack(">I", len(inside)) + kind + inside + struct.pack(">I", zlib.crc32(kind + inside))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b"")


def many_scans(count: int) -> bytes:
    """Return a progressive JPEG of 16 megapixels whose last scan is repeated."""
    written = io.BytesIO()
    Image.new("RGB", (4000, 4000), "red").save(written, "jpeg", progressive=True)
    content = written.getvalue()
    last = content.rindex(b"\xff\xda")
    return content[:last] + content[last:-2] * count + content[-2:]


def in_formats(image: Image.Image) -> list[bytes]:
    """Return an image in all formats that are read."""
    found = []
    for name in ("jpeg", "png", "webp", "gif", "bmp", "tiff"):
        written = io.BytesIO()
        image.save(written, name)
        found.append(written.getvalue())
    return found


def make_attacks(photo: bytes, seed: int) -> dict[str, Callable[[], tuple[bytes, str]]]:
    """Return for each kind a function that gives what is sent, and what follows: "wait", "vanish" or "stall"."""
    rng = random.Random(seed)
    files = in_formats(Image.open(io.BytesIO(photo)).convert("RGB").resize((120, 90)))
    huge, real, scans = png(100_000, 100_000, b""), png(12_000, 12_000, zlib.compress(bytes(10**8))), many_scans(2000)
    junk = rng.randbytes(100_000)

    def garbage() -> bytes:
        at = rng.randrange(90_000)
        return junk[at : at + rng.randint(1, 5000)]

    return {
        "damaged images": lambda: (request(form(damaged(rng.choice(files), rng))), "wait"),
        "no images": lambda: (request(form(garbage())), "wait"),
        "bombs": lambda: (request(form(rng.choice((huge, real)))), "wait"),
        "JPEGs of 2,000 scans": lambda: (request(form(scans)), "wait"),
        "damaged forms": lambda: (request(damaged(form(files[0]), rng)), "wait"),
        "other content types": lambda: (request(garbage(), rng.choice((b"image/png", b"text/xml", b"\xff"))), "wait"),
        "too many files": lambda: (request(form(*[b"x"] * 500)), "wait"),
        "too many bytes": lambda: (request(b"", length=10 ** rng.randint(8, 30)), "wait"),
        "no HTTP": lambda: (damaged(request(form(files[0])), rng)[: rng.randint(1, 300)] + b"\r\n\r\n", "wait"),
        "other addresses": lambda: (request(form(files[0]), path=b"/" + garbage().hex()[:50].encode()), "wait"),
        "vanishing": lambda: (request(form(photo))[: rng.randint(1, len(photo))], "vanish"),
        "vanishing before the answer": lambda: (request(form(files[0])), "vanish"),
        "stalling": lambda: (request(form(photo))[: rng.randint(1, len(photo))], "stall"),
    }
