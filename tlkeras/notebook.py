"""What a notebook shows as HTML or as a figure: tables, images, progress bars; a training elsewhere needs none."""

import html
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Table:
    """Rows of values: HTML where a notebook shows it, aligned text where it is printed."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Take the rows; the keys of the first are the columns, and floats are shown with three digits.

        Example:
            >>> Table([{"class": "cat", "count": 1200, "recall": 0.5}])
            class  count  recall
            cat    1,200   0.500
        """
        self.columns = list(rows[0])
        self.cells = [[format_cell(row[column]) for column in self.columns] for row in rows]
        self._words = [isinstance(rows[0][column], str) for column in self.columns]

    def __str__(self) -> str:
        lines = [self.columns, *self.cells]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        sides = [str.ljust if words else str.rjust for words in self._words]
        padded = [[side(cell, width) for side, cell, width in zip(sides, line, widths, strict=True)] for line in lines]
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


def format_cell(value: Any) -> str:
    """Return the text of a cell: floats with three digits, integers with commas."""
    if isinstance(value, float | np.floating):
        return f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int | np.integer) and not isinstance(value, bool) else str(value)


def image_grid(images: Sequence[np.ndarray], titles: Sequence[str], columns: int = 8, side: float = 1.2) -> "Figure":
    """Plot images side by side, each under its title.

    Args:
        images: uint8 `(H, W, 3)` or `(H, W)`, 0–255, of any sizes.
        titles: one for each.
        columns: images in a row.
        side: of each image, in inches.

    Returns:
        A figure, which a notebook shows where it is the last value of a cell.

    Example:
        >>> image_grid(list(data.inputs[:8]), titles=["cat"] * 8)
    """
    from matplotlib.figure import Figure

    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(side * columns, (side + 0.25) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for panel in panels:
        panel.axis("off")
    for panel, image, title in zip(figure.axes, images, titles, strict=False):
        panel.imshow(image, cmap="gray", vmin=0, vmax=255)
        panel.set_title(title, fontsize="small")
    return figure


class NotebookBar(tqdm):
    """A bar of tqdm over a table that grows, which a notebook shows as HTML and redraws in its position.

    That of `tqdm.auto` needs ipywidgets, has no table, and stands at 0% where a saved notebook is shown.
    """

    def __init__(self, **options: Any) -> None:
        """Take the options of `tqdm`."""
        self._rows: list[Mapping[str, Any]] = []
        self._handle: Any = None
        super().__init__(**options, mininterval=0.2, file=io.StringIO())

    def add_row(self, row: Mapping[str, Any]) -> None:
        """Add a row to the table, and show it."""
        self._rows.append(row)
        self.refresh()

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Draw the bar and the table; the arguments, which are those of `tqdm`, do not matter here."""
        from IPython.display import display

        shown = "{n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"
        numbers = self.format_meter(**{**self.format_dict, "bar_format": shown})
        table = Table(self._rows) if self._rows else None
        bar = f'<progress value="{self.n / (self.total or 1):.3f}" max="1"></progress>'
        rich = f'<div class="progress">{html.escape(self.desc)} {bar} {html.escape(numbers)}\n'
        rich += f"{table._repr_html_() if table else ''}</div>"
        output = {"text/html": rich, "text/plain": f"{self.desc}: {numbers}" + (f"\n{table}" if table else "")}
        if self._handle is None:
            self._handle = display(output, raw=True, display_id=True)
        else:
            self._handle.update(output, raw=True)
