"""Check an untrusted `.keras` archive before Keras opens it, without TensorFlow."""

import zipfile
from pathlib import Path, PurePosixPath

from tlkeras.errors import UserError

MAX_MODEL_BYTES = 8_000_000_000  # the largest backbone of the table takes 1.4 GB


def check_model_file(path: Path) -> None:
    """Refuse a file that cannot be a Keras model, as far as the list of files in the archive tells."""
    if not path.is_file():
        raise UserError(f"There is no model file {path}. Give a .keras file, or a folder that scripts/train.py wrote.")
    what = "a .keras file is a zip archive with config.json and model.weights.h5 inside"
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception:  # of many kinds where an archive is damaged
        raise UserError(
            f"{path} is not a Keras model: {what}, and this is none, or a damaged one. Give another file."
        ) from None
    names = [PurePosixPath(member.filename.replace("\\", "/")) for member in members]
    if not {"config.json", "model.weights.h5"} <= set(map(str, names)):
        raise UserError(f"{path} is not a Keras model: {what}, and this one lacks them. Give another file.")
    if any(name.is_absolute() or ".." in name.parts or ":" in str(name) for name in names):
        raise UserError(f"{path} is not opened: it holds files that would be written outside of their folder.")
    if sum(member.file_size for member in members) > MAX_MODEL_BYTES:
        raise UserError(
            f"{path} is not opened: unpacked it is larger than {MAX_MODEL_BYTES / 1e9:.0f} GB. Give a smaller model."
        )
