"""A table of scores as HTML: a row for each class, a column of bars for each model.

Columns, numbers and marks carry the meaning; colour repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from prediction.comparison import Column, Row

SHOWN_AT_FIRST = 20  # classes; the others unfold

CSS = """
.score-table { width: 100%; table-layout: fixed; border-collapse: collapse; margin: 0; }
.score-table th, .score-table td { padding: 2px 6px; text-align: left; vertical-align: middle;
  overflow-wrap: anywhere; }
.score-table, .score-table * { border: 0 solid rgba(128, 128, 128, 0.4) !important; }
.score-table tr { border-bottom-width: 1px !important; }
.score-table thead th { vertical-align: bottom; padding-bottom: 6px; }
.score-table thead small, .score-key { display: block; font-weight: normal; opacity: 0.8; }
.score-table tbody th { font-weight: 500; }
.score-cell { display: flex; flex-wrap: wrap; align-items: center; gap: 2px 8px; }
.score-track { position: relative; flex: 1 1 72px; height: 14px;
  background: rgba(128, 128, 128, 0.22); }
.score-bar { height: 100%; background: #56b4e9; }
.score-bar.is-above { background: #0072b2; }
.score-mark { position: absolute; top: -3px; bottom: -3px; width: 2px; margin-left: -1px;
  background: currentColor; }
.score-number { flex: 0 0 4.2em; white-space: nowrap; font-variant-numeric: tabular-nums; }
.score-more > summary { cursor: pointer; padding: 8px 6px; }
@media (max-width: 640px) {
  .score-table { font-size: 0.8rem; }
  .score-table th, .score-table td { padding: 2px 3px; }
}
"""


def table_html(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """The table, its first classes visible and the others behind a line that unfolds them.

    Args:
        columns: one for each model.
        rows: in their order; each with as many scores as there are columns.
    """
    first, others = rows[:SHOWN_AT_FIRST], rows[SHOWN_AT_FIRST:]
    html = _table(columns, first)
    if others:
        number = f"{len(others)} more class{'es' if len(others) > 1 else ''}"
        html += f'<details class="score-more"><summary>{number}</summary>'
        html += f"{_table(columns, others)}</details>"
    return f'{html}<p class="score-key">{_key(columns, rows)}</p>'


def _key(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    key = "Scores in percent, sorted by the first column."
    if any(column.thresholds for column in columns):
        key += " The upright line is the threshold; ✓ and the darker bar: above it."
    if any(score is None for row in rows for score in row.scores):
        key += " –: not one of the model's classes."
    return key


def _table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    heads = "".join(f'<th scope="col">{_head(column)}</th>' for column in columns)
    lines = []
    for row in rows:
        pairs = zip(columns, row.scores, strict=True)
        cells = "".join(
            f"<td>{_cell(score, column.thresholds.get(row.classname))}</td>"
            for column, score in pairs
        )
        lines.append(f'<tr><th scope="row">{escape(row.classname)}</th>{cells}</tr>')
    return (
        f'<table class="score-table"><thead><tr><th scope="col">class</th>{heads}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )


def _head(column: Column) -> str:
    chosen = set(column.thresholds.values())
    threshold = f", threshold {100 * chosen.pop():g}" if len(chosen) == 1 else ""
    if len(chosen) > 1:
        threshold = ", a threshold for each class"
    name = escape(column.name).replace("/", "/<wbr>")
    return f"{name} <small>{escape(column.space)}{threshold}</small>"


def _cell(score: float | None, threshold: float | None) -> str:
    if score is None:
        return '<span title="not one of its classes">–</span>'
    above = threshold is not None and score > threshold
    mark = ""
    if threshold is not None:
        mark = f'<div class="score-mark" style="left: {100 * threshold:.2f}%"></div>'
    return (
        '<div class="score-cell"><div class="score-track">'
        f'<div class="score-bar{" is-above" if above else ""}" style="width: {100 * score:.2f}%">'
        f'</div>{mark}</div><span class="score-number">{100 * score:.1f}{" ✓" if above else ""}'
        "</span></div>"
    )
