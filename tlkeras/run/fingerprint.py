"""The fingerprint of a run: it can be resumed only where nothing of it has changed."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tlkeras.config.fields import flag_name
from tlkeras.config.files import GIVEN, parse_options
from tlkeras.data.loading import available_cores
from tlkeras.data.prepare import PreparedData
from tlkeras.data.quality import content_digests
from tlkeras.errors import UserError
from tlkeras.io.atomic import write_atomic
from tlkeras.io.hashing import stream_hash
from tlkeras.run.artifacts import versions

NOTHING: Mapping[str, str] = MappingProxyType({})
FILE = "identity.json"  # beside the checkpoints
# Options that may differ when a run is resumed: where things are, and how it is started.
MAY_CHANGE = ("run_dir", "data_dir", "overwrite", "resume", "memory_gb", "disk_gb", "cache_gb", "data_description",
              "track", "verbose", "cluster")  # fmt: skip


def check_fingerprint(
    folder: Path, config: Any, data: PreparedData, weights: str | None = None, given: Mapping[str, str] = NOTHING
) -> None:
    """Write the fingerprint of a run beside its checkpoints, or refuse to resume what differs from the one there.

    `weights` is the hash of a backbone that is not in the table, or of a weight file that each start reads again;
    `given` names what was given in Python.
    """
    options = {name: value for name, value in dataclasses.asdict(config).items() if name not in MAY_CHANGE}
    now = {"options": options, "data": digest_data(data), "versions": versions(), "cores": available_cores(),
           "weights": weights, "given": dict(given)}  # fmt: skip
    now = json.loads(json.dumps(now))
    file = folder / FILE
    if not file.exists() and not any(folder.glob("*.npz")):
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(now, indent=2))
        return
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
        changes = [f"{flag_name(name)} {value}" for name, value in before["options"].items()
                   if value != now["options"].get(name)]  # fmt: skip
        changes += [f"{name} {value}" for name, value in before["versions"].items() if value != now["versions"][name]]
        differs = {f"{before['cores']} cores": "cores", "other examples or labels": "data", "other weights": "weights"}
        changes += given_differently(before.get("given", {}), given)
        changes += [words for words, name in differs.items() if before.get(name) != now[name]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        changes = ["a damaged record of its options"]
    if changes:
        raise UserError(
            f"The run in {folder.parent} was started with {', '.join(changes)}: resuming would not give the same. Give "
            "the same to resume, or --overwrite to start over."
        )


def given_differently(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Return what else was given in Python before, as Python writes it."""
    return [f"{name}={before.get(name)}" for name in {**before, **now} if before.get(name) != now.get(name)]


def check_finished(file: Path, config: Any, now: Mapping[str, str] = NOTHING) -> None:
    """Refuse options other than those in the `config.yaml` of a finished run; None and "auto" were left open."""
    before = parse_options(file.read_text(encoding="utf-8"))
    given = {name: value for name, value in dataclasses.asdict(config).items()
             if name not in MAY_CHANGE and value not in (None, "auto")}  # fmt: skip
    changes = [f"{flag_name(name)} {before.get(name)}" for name in given if before.get(name) != given[name]]
    if changes := changes + given_differently(before.get(GIVEN, {}), now):
        raise UserError(
            f"The run in {file.parent} is finished, and was one with {', '.join(changes)}. Give another --run-dir, or "
            "--overwrite to replace it."
        )


def digest_data(data: PreparedData) -> str:
    """Return the hash of all examples, their names and labels, and of the splits."""
    names = (f"{example.name}\0{example.label}\0" for example in data.examples)
    splits = (part for name, rows in data.splits.items() for part in (name, rows))
    return stream_hash(names, splits, content_digests(data.inputs))
