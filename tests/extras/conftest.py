"""What the tests of all extras share."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def rename_in_config() -> Callable[..., None]:
    """Return `rename_in_config(path, ("new", "old"), …)`, which makes a `.keras` file one of an earlier version."""

    def rename(path: Path, *names: tuple[str, str]) -> None:
        with zipfile.ZipFile(path) as archive:
            content = {name: archive.read(name) for name in archive.namelist()}
        for new, old in names:
            assert f'"{new}"'.encode() in content["config.json"]
            content["config.json"] = content["config.json"].replace(f'"{new}"'.encode(), f'"{old}"'.encode())
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(name, data)

    return rename
