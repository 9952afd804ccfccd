"""The files of a run: options, metrics, history, versions."""

import csv
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from tlkeras import __version__


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """Write a mapping as YAML, in its own order."""
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Write values as indented JSON."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows as CSV, such as the epochs of a training."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def versions() -> dict[str, str]:
    """Return the versions of everything that a training's metrics depend on."""
    own = {"tlkeras": __version__, "python": platform.python_version()}
    packages = ["tensorflow", "keras", "numpy", "pillow", "scikit-learn"]
    return own | {name: version(name) for name in packages}
