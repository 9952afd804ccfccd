"""What a run leaves for its readers: options, figures, history, versions."""

import csv
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from tlkeras import __version__


def write_yaml(path: Path, values: dict[str, Any]) -> None:
    """A mapping as YAML, in its own order."""
    path.write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")


def write_json(path: Path, values: Any) -> None:
    """Values as indented JSON."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_history(path: Path, rows: list[dict[str, Any]]) -> None:
    """A training as one table: a row for each epoch."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def versions() -> dict[str, str]:
    """Of everything that a training's figures depend on."""
    own = {"tlkeras": __version__, "python": platform.python_version()}
    packages = ["tensorflow", "keras", "numpy", "pillow", "scikit-learn"]
    return own | {name: version(name) for name in packages}
