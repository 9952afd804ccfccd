"""Read one text: a file or its bytes -> a string. The only place that opens text files."""

from pathlib import Path

from tlkeras.data.example import DecodeError

MAX_BYTES = 1_000_000  # of a text; longer ones are books, or no texts at all


def read_text(source: Path | bytes) -> str:
    """Reads a text in UTF-8; white space around it and a byte order mark are dropped.

    Args:
        source: A file, or its content.

    Raises:
        Unreadable: It is not UTF-8, is empty, or has more than `MAX_BYTES`.
    """
    try:
        content = source if isinstance(source, bytes) else _read(source)
    except OSError as error:
        raise DecodeError((error.strerror or str(error)).lower()) from error
    if len(content) > MAX_BYTES:
        raise DecodeError(f"longer than {MAX_BYTES:,} bytes")
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DecodeError("not UTF-8") from error
    if not text:
        raise DecodeError("empty")
    return text


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)
