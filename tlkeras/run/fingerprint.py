"""What a run is made of: it can be gone on with only where nothing of that has changed."""

import dataclasses
import hashlib
import json
from pathlib import Path

import yaml

from tlkeras.config import PretrainConfig, TrainConfig
from tlkeras.data.prepare import PreparedData
from tlkeras.data.loading import available_cores, content_bytes
from tlkeras.io.atomic import write_atomic
from tlkeras.errors import UserError
from tlkeras.run.artifacts import versions

FILE = "identity.json"  # beside the checkpoints
# Options that may differ when a run goes on: where things lie, and how it is started.
MAY_CHANGE = ("run_dir", "data_dir", "overwrite", "resume", "memory", "cache_disk", "about")
CHUNK = 256  # pictures that are read at a time


def check_fingerprint(
    folder: Path, config: TrainConfig | PretrainConfig, data: PreparedData, weights: str | None = None
) -> None:
    """Note what a run is made of, or compare with the note that is there.

    Args:
        folder: of the checkpoints.
        config: options of the run, none of them None any more.
        data: the pictures, decoded.
        weights: digest of a hub module, or of a file of weights that each start reads again.

    Raises:
        UserError: another option, other data or weights, another version of a package, or another number of cores.
    """
    options = {name: value for name, value in dataclasses.asdict(config).items() if name not in MAY_CHANGE}
    now = {"options": options, "data": digest_data(data), "versions": versions(), "cores": available_cores(),
           "weights": weights}  # fmt: skip
    now = json.loads(json.dumps(now))
    file = folder / FILE
    if not file.exists() and not any(folder.glob("*.npz")):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(now, indent=2).encode())
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        changes = [f"--{name.replace('_', '-')} {value}" for name, value in before["options"].items()
                   if value != now["options"].get(name)]  # fmt: skip
        changes += [f"{name} {value}" for name, value in before["versions"].items() if value != now["versions"][name]]
        changes += [f"{before['cores']} cores"] if before["cores"] != now["cores"] else []
        changes += ["other pictures or labels"] if before["data"] != now["data"] else []
        changes += ["other weights"] if before.get("weights") != weights else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        changes = ["a damaged note of its options"]
    if changes:
        raise UserError(f"The run in {folder.parent} was begun with {', '.join(changes)}: going on would not give the "
                        "same. Give the same to go on, or --overwrite to begin anew.")  # fmt: skip


def check_finished(file: Path, config: TrainConfig | PretrainConfig) -> None:
    """Compare what was asked for with the options of a finished run.

    Args:
        file: the run's `config.yaml`.
        config: as it was given; what is None or "auto" was left to the program.

    Raises:
        UserError: they are others.
    """
    before = yaml.safe_load(file.read_text(encoding="utf-8"))
    given = {name: value for name, value in dataclasses.asdict(config).items()
             if name not in MAY_CHANGE and value not in (None, "auto")}  # fmt: skip
    if changes := [
        f"--{name.replace('_', '-')} {before.get(name)}" for name in given if before.get(name) != given[name]
    ]:
        raise UserError(f"The run in {file.parent} is finished, and was one with {', '.join(changes)}. Give another "
                        "--run-dir, or --overwrite to replace it.")  # fmt: skip


def digest_data(data: PreparedData) -> str:
    """SHA-256 of all pictures, their names and labels, and who is in which split."""
    result = hashlib.sha256()
    for example in data.examples:
        result.update(f"{example.name}\0{example.label}\0".encode())
    for name, rows in data.splits.items():
        result.update(name.encode() + rows.tobytes())
    for start in range(0, len(data.examples), CHUNK):
        result.update(content_bytes(data.inputs[start : start + CHUNK]))
    return result.hexdigest()
