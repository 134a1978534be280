"""Cells of tables, and tables as text: plain, markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tabulate import tabulate

from evaluation.metrics.confidence import confidence

__all__ = [
    "SPREADS",
    "TABLE_FORMATS",
    "Cell",
    "bold_best",
    "cell_text",
    "csv_text",
    "mean_cell",
    "text_table",
]

TABLE_FORMATS = {"plain": "simple", "markdown": "pipe", "csv": None, "latex": "latex_booktabs"}
SPREADS = {"std": "standard deviation", "ci95": "half the 95% confidence interval"}


class Cell(NamedTuple):
    """A mean over seeds, and its spreads; None where undefined, and spreads of a single value."""

    mean: float | None
    std: float | None
    ci95: float | None


def mean_cell(values: Sequence[float | None]) -> Cell:
    """The cell of some runs' values; undefined where one of them is."""
    if not values or None in values:
        return Cell(None, None, None)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Cell(float(statistics.mean(values)), deviation, confidence(values))


def cell_text(cell: Cell, spread: str) -> str:
    """A cell as mean ± spread, "-" where it is undefined."""
    if cell.mean is None:
        return "-"
    width = getattr(cell, spread)
    return f"{cell.mean:.2f}" if width is None else f"{cell.mean:.2f} ± {width:.2f}"


def bold_best(cells: Sequence[Cell], texts: Sequence[str], least: bool = False) -> list[str]:
    """The texts of cells that compete, the best of them in markdown's bold.

    Equal to two decimals, several are best; of a single one nothing is.

    Args:
        cells: of the methods.
        texts: theirs.
        least: whether the least is best.
    """
    means = [None if cell.mean is None else round(cell.mean, 2) for cell in cells]
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        return list(texts)
    best = min(known) if least else max(known)
    return [
        f"**{text}**" if mean == best else text for mean, text in zip(means, texts, strict=True)
    ]


def text_table(
    table: Sequence[Sequence[str]], headers: Sequence[str], left: int, fmt: str, caption: str
) -> str:
    """A table with its caption above.

    Args:
        table: rows of cells.
        headers: of the columns.
        left: so many first columns are aligned to the left, others to the right.
        fmt: plain, markdown or latex, where the caption is a comment.
        caption: a line.
    """
    text = tabulate(
        table,
        headers=headers,
        tablefmt=TABLE_FORMATS[fmt],
        colalign=["left"] * left + ["right"] * (len(headers) - left),
        disable_numparse=True,
    )
    if fmt == "latex":
        return f"% {caption}\n{text}\n".replace("±", r"$\pm$")
    return f"{caption}\n\n{text}\n"


def csv_text(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV; None is an empty cell, and numbers have two decimals."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(headers)
    for row in rows:
        cells = ("" if cell is None else cell for cell in row)
        writer.writerow([f"{cell:.2f}" if isinstance(cell, float) else cell for cell in cells])
    return buffer.getvalue()
