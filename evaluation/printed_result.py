"""The lines that an evaluation prints, in the format that Dassl's parse_test_res.py reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.groups import GROUPS

__all__ = ["class_lines", "result_lines"]

_NAMED = 100  # classes at most

Row = Mapping[str, Any]  # of `MultiLabelLongTail.per_class`


def class_lines(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each class."""
    yield "=> per-class result"
    for row in rows:
        ap = "undefined" if row["AP"] is None else f"{row['AP']:.2f}%"
        yield (
            f"* class: {row['name']}\ttrain: {row['train_count']}\t"
            f"group: {row['group']}\tpositives: {row['positives']:,}\tAP: {ap}"
        )


def result_lines(
    metrics: Mapping[str, float], rows: Sequence[Row], total: int, about: Mapping[str, str]
) -> Iterator[str]:
    """Lines on the whole evaluation.

    Args:
        metrics: in percent.
        rows: of the classes.
        total: evaluated images.
        about: what was said of scores and thresholds, by the word before it.
    """
    yield "=> result"
    yield f"* total: {total:,}"
    yield f"* score: {about['score']}"
    for name, value in metrics.items():
        yield f"* {name}: {value:.2f}%"
    yield from (f"* {word}: {said}" for word, said in about.items() if word != "score")
    absent = [row["name"] for row in rows if not row["positives"]]
    if absent:
        yield (
            f"* left out of every mAP, no positives among these images: {_named(absent)} "
            f"({len(absent)} of {len(rows)} classes)"
        )
    for group in GROUPS:
        count = sum(row["group"] == group for row in rows)
        if count and f"mAP_{group}" not in metrics:
            yield f"* mAP_{group} left out: no positives in any of its {count} classes"


def _named(names: Sequence[str]) -> str:
    """Names in a row; of very many, the first ones."""
    if len(names) <= _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more"
