"""The notebooks of a new project: their texts name no page that did not come along."""

import json
import re
from collections.abc import Set
from pathlib import Path, PurePosixPath


def forget_pages(folder: Path, left: Set[str]) -> None:
    """Take out of sources, notebooks and their README what names a page that was left out.

    Of texts the sentence goes, of the README the line; a source and its notebook stay the same page.

    Args:
        folder: of the copied notebooks.
        left: files that did not come along, relative to the template.
    """
    pages = {PurePosixPath(path).stem for path in left if re.fullmatch(r"notebooks/[^/]+\.ipynb", path)}
    for kind, change in (("md", without_lines), ("py", in_source), ("ipynb", in_notebook)):
        for path in folder.glob(f"*.{kind}"):
            text = path.read_text(encoding="utf-8")
            if any(page in text for page in pages):
                path.write_text(change(text, pages), encoding="utf-8")


def without_lines(text: str, pages: Set[str]) -> str:
    """Text without the lines that name one of the pages."""
    return "".join(line for line in text.splitlines(keepends=True) if not any(page in line for page in pages))


def without_sentences(text: str, pages: Set[str]) -> str:
    """Markdown without the sentences and entries of lists that name one of the pages."""
    kept = []
    for paragraph in text.split("\n\n"):
        sentences = re.split(r"(?<=[.?!])(?=\s)|(?=\n[-*] )", paragraph)
        kept.append("".join(part for part in sentences if not any(page in part for page in pages)).strip())
    return "\n\n".join(filter(None, kept))


def in_source(text: str, pages: Set[str]) -> str:
    """A source in Jupytext's percent format, without such sentences, and without a cell that has no others."""
    cells = []
    for cell in re.split(r"^(?=# %%)", text, flags=re.MULTILINE):
        head, _, body = cell.partition("\n")
        if head == "# %% [markdown]":
            said = without_sentences(re.sub(r"^# ?", "", body, flags=re.MULTILINE).rstrip("\n"), pages)
            lines = "".join(f"# {line}".rstrip() + "\n" for line in said.splitlines())
            cell = f"{head}\n{lines}\n" if said else ""
        cells.append(cell)
    return "".join(cells).rstrip("\n") + "\n"


def in_notebook(text: str, pages: Set[str]) -> str:
    """A notebook, likewise; its cells are numbered as its source's are."""
    notebook, cells = json.loads(text), []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cell["source"] = without_sentences("".join(cell["source"]), pages).splitlines(keepends=True)
        if cell["source"] or cell["cell_type"] == "code":
            cells.append(cell | {"id": f"cell-{len(cells) + 1:02}"})
    return json.dumps(notebook | {"cells": cells}, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
