"""What is rich in a notebook and plain on a terminal: tables, pictures, the progress of a training."""

import html
import math
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REDRAW_SECONDS = 0.2  # between two looks of the same bar
QUIET_SECONDS = 2.0  # before it is said how far something is


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this program; IPython on a terminal, or merely imported, is none."""
    ipython = sys.modules.get("IPython")
    return hasattr(ipython and ipython.get_ipython(), "kernel")


class Table:
    """Rows of figures: HTML where a notebook shows it, aligned text where it is printed."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take the rows; the keys of the first are the columns. Fractions are shown with three digits."""
        self.columns = list(rows[0])
        self.cells = [[as_text(row[column]) for column in self.columns] for row in rows]
        self._words = [isinstance(rows[0][column], str) for column in self.columns]

    def __str__(self) -> str:
        lines = [self.columns, *self.cells]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [str.ljust if words else str.rjust for words in self._words]
        padded = [[side(*pair) for side, *pair in zip(sides, line, widths, strict=True)] for line in lines]
        return "\n".join("  ".join(line).rstrip() for line in padded)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        sides = ["left" if words else "right" for words in self._words]
        head, *body = (
            "".join(
                f'<{tag} style="text-align: {side}">{html.escape(cell)}</{tag}>'
                for cell, side in zip(line, sides, strict=True)
            )
            for tag, line in [("th", self.columns), *(("td", cells) for cells in self.cells)]
        )
        rows = "\n".join(f"<tr>{row}</tr>" for row in body)
        return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody>\n</table>"


def as_text(value: Any) -> str:
    """A cell of a table."""
    if isinstance(value, float | np.floating):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int | np.integer) and not isinstance(value, bool) else str(value)


def image_grid(
    pictures: Sequence[np.ndarray], titles: Sequence[str], columns: int = 8, side: float = 1.2
) -> "Figure":
    """Pictures side by side, each under its title.

    Args:
        pictures: uint8 `(H, W, 3)` or `(H, W)`, 0–255, of any sizes.
        titles: one for each.
        columns: pictures in a row.
        side: inches a side of each picture.

    Returns:
        A figure, which a notebook shows where it is the last value of a cell.
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    figure = Figure(figsize=(side * columns, (side + 0.25) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel in panels:
        panel.axis("off")
    for panel, picture, title in zip(figure.axes, pictures, titles, strict=False):
        panel.imshow(picture, cmap="gray", vmin=0, vmax=255)
        panel.set_title(title, fontsize="small")
    return figure


class Progress:
    """A bar over a table that is redrawn in its place, in a notebook."""

    def __init__(self, title: str) -> None:
        """Show an empty bar under a title."""
        from IPython.display import display

        self._title, self._rows, self._drawn = title, [], 0.0
        self._handle = display(self._look(0.0, ""), raw=True, display_id=True)

    def row(self, row: Mapping[str, Any]) -> None:
        """Add a row to the table; it shows at the next look."""
        self._rows.append(row)

    def show(self, share: float, text: str, at_once: bool = False) -> None:
        """Draw the bar.

        Args:
            share: of the work that is done, 0–1.
            text: stands beside the bar.
            at_once: draw it though it was drawn a moment ago.
        """
        now = time.perf_counter()
        if at_once or now - self._drawn > REDRAW_SECONDS:
            self._drawn = now
            self._handle.update(self._look(share, text), raw=True)

    def _look(self, share: float, text: str) -> dict[str, str]:
        bar = f'<progress value="{share:.3f}" max="1"></progress>'
        table = Table(self._rows) if self._rows else None
        rich = f'<div class="progress">{html.escape(self._title)} {bar} {html.escape(text)}\n'
        rich += f"{table._repr_html_() if table else ''}</div>"
        return {"text/html": rich, "text/plain": f"{self._title}: {text}" + (f"\n{table}" if table else "")}


class Counter:
    """How far a long piece of work is: a bar in a notebook, a passing line on a terminal while someone watches.

    What is done in two seconds shows nothing.
    """

    def __init__(self, doing: str, total: int) -> None:
        """Say what is done, and how many of them there are to do."""
        self._doing, self._total, self._done = doing, total, 0
        self._shown: Progress | bool = False
        watched = in_notebook() or sys.stderr.isatty()
        self._next = time.monotonic() + QUIET_SECONDS if watched else math.inf

    def step(self, count: int = 1) -> None:
        """Count some more of them."""
        self._done += count
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + REDRAW_SECONDS
            self._show()

    def close(self) -> None:
        """Take the line away; a bar stays, full."""
        if isinstance(self._shown, Progress):
            self._shown.show(1.0, f"{self._total:,} of {self._total:,}", at_once=True)
        elif self._shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def _show(self) -> None:
        far = f"{self._done:,} of {self._total:,}"
        if in_notebook():
            self._shown = self._shown or Progress(self._doing)
            self._shown.show(self._done / self._total, far)
        else:
            self._shown = True
            print(f"\r{self._doing}: {far}", end="", file=sys.stderr, flush=True)
