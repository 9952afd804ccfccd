"""The README of a new project: the sections of the template's that are true of it."""

import re
from collections.abc import Iterator
from pathlib import Path

MAP = "Where to change what"


def make_readme(template: Path, left: set[str]) -> str:
    """The sections of the template's README that name nothing that was left out; of the map, such lines.

    Args:
        template: the repository's folder.
        left: files and folders that did not come along, relative to it.

    Returns:
        Markdown, from the first heading of level 2 on.
    """
    kept = []
    for section in re.split(r"^(?=## )", (template / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        if section.startswith(f"## {MAP}\n"):
            section = without_lines(section, left)
        first, *rest = re.split(r"^(?=### )", section, flags=re.MULTILINE)
        if not names_left(first, left):
            kept += [first, *(part for part in rest if not names_left(part, left))]
    return "".join(kept)


def without_lines(text: str, left: set[str]) -> str:
    """Text without the lines that name something that was left out."""
    return "".join(line for line in text.splitlines(keepends=True) if not names_left(line, left))


def names_left(text: str, left: set[str]) -> bool:
    """Whether a text names one of these files or folders, by its path."""
    return any(path.rstrip("/.") in left for path in re.findall(r"[\w.-]+/[\w./-]*", text))


def command_lines(readme: Path, title: str | None = None) -> Iterator[str]:
    """The lines that a reader is told to type.

    Args:
        readme: the file.
        title: of the section whose lines are wanted; None is all of them.
    """
    text = readme.read_text(encoding="utf-8")
    section = text.partition(f"## {title}\n")[2].partition("\n## ")[0] if title else text
    for block in re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
        yield from block.splitlines()
