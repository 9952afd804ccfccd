"""Decode an uploaded image within limits."""

import numpy as np

from tlkeras.modalities.base import DecodeError, Modality
from tlkeras.modalities.image import opened

JPEG_START, SCAN_START = b"\xff\xd8", b"\xff\xda"
MAX_SCANS = 50  # progressive JPEGs have about ten; each goes over all pixels again, and takes a few bytes


def decode_upload(modality: Modality, content: bytes, max_megapixels: float) -> np.ndarray:
    """Return an image as the model takes it; raise a `DecodeError` where it cannot be read or takes too much time."""
    if content.startswith(JPEG_START) and content.count(SCAN_START) > MAX_SCANS:
        raise DecodeError(f"a JPEG with more than {MAX_SCANS} scans")
    with opened(content) as image:
        pixels = image.width * image.height  # as its header says
    if pixels > max_megapixels * 1e6:
        raise DecodeError(f"larger than {max_megapixels:g} megapixels")
    return modality.read(content)
