"""Differences of methods as text: by groups of classes, or class by class."""

from __future__ import annotations

from collections.abc import Sequence

from common.choices import check_choice
from evaluation.comparing.comparison import Comparison
from evaluation.comparing.difference_intervals import Interval, Uncertainty
from evaluation.comparing.holm import holm
from evaluation.tables.table_text import TABLE_FORMATS, csv_text, text_table

__all__ = ["class_difference_table", "difference_table"]

_INTERVALS = ("seeds", "images", "both")
_BOUNDS = tuple(f"{kind}_{end}" for kind in _INTERVALS for end in ("low", "high"))
_FIGURES = ("difference", "std", *_BOUNDS, "p")
_PLACE = ("dataset", "split", "against")  # stand above a table where its rows share them
_CLASS_KEYS = ("name", "group", "train_count", "positives")
_SIGNIFICANT = 0.05


def difference_table(comparisons: Sequence[Comparison], fmt: str = "plain") -> str:
    """Tabulate differences of mAP over groups of classes, in each score space.

    Args:
        comparisons: from `evaluation.comparing.comparison.compare`.
        fmt: plain, markdown, latex, or csv (all bounds and p in columns of their own).

    Raises:
        ValueError: an unknown format.
    """
    rows = [
        (comparison, [space, name], found)
        for comparison in comparisons
        for space in comparison.groups
        for name, found in comparison.groups[space].items()
    ]
    left = ["score", "classes"]
    if fmt == "csv":
        table = ([*_of(c), *names, len(c.seeds), *_numbers(found)] for c, names, found in rows)
        return csv_text([*_PLACE, "method", *left, "seeds", *_FIGURES], table)
    table = [
        [c.method, *names, str(len(c.seeds)), _difference(found)]
        + [_bounds(getattr(found, kind, None)) for kind in _INTERVALS]
        for c, names, found in rows
    ]
    headers = ["method", *left, "seeds", "difference", *_INTERVALS]
    caption = (
        f"{_caption(comparisons)}; 95% intervals over seeds (Student's t), over images "
        f"({comparisons[0].resamples:,} resamples) and over both"
    )
    return _text([c for c, *_ in rows], headers, table, 3, fmt, caption)


def class_difference_table(comparisons: Sequence[Comparison], fmt: str = "plain") -> str:
    """Tabulate the difference of each class, the most frequent first, in the runs' score space.

    The interval is over seeds and images, or over images where there is a single seed. p is of no
    difference; beside it stands p after Holm's correction for all classes of a comparison, with a
    star below 0.05.

    Args:
        comparisons: see `difference_table`.
        fmt: see `difference_table`.

    Raises:
        ValueError: an unknown format.
    """
    rows = [(c, *row) for c in comparisons for row in _class_rows(c)]
    left = ["class", "group", "train", "positives"]
    if fmt == "csv":
        table = (
            [*_of(c), c.score, *facts, len(c.seeds), *_numbers(found)]
            + [None if adjusted is None else f"{adjusted:.3g}"]
            for c, facts, found, adjusted in rows
        )
        headers = [*_PLACE, "method", "score", *left, "seeds", *_FIGURES, "p_holm"]
        return csv_text(headers, table)
    table = [
        [c.method, *facts, _difference(found), _bounds(found and found.widest)]
        + [_p(found and found.p) or "-", _starred(adjusted)]
        for c, facts, found, adjusted in rows
    ]
    headers = ["method", *left, "difference", "95% interval", "p", "p (Holm)"]
    several = all(len(c.seeds) > 1 for c in comparisons)
    caption = (
        f"{_caption(comparisons)}, {', '.join(sorted({c.score for c in comparisons}))} scores; "
        f"95% intervals over {'seeds and ' * several}images "
        f"({comparisons[0].resamples:,} resamples); * p < {_SIGNIFICANT} after Holm's correction"
    )
    return _text([c for c, *_ in rows], headers, table, 3, fmt, caption)


def _class_rows(
    comparison: Comparison,
) -> list[tuple[list[str], Uncertainty | None, float | None]]:
    """Facts, difference and adjusted p of each class, the most frequent first."""
    found = comparison.classes[comparison.score]
    adjusted = iter(holm([of_class.p for of_class in found if of_class]))
    rows = [
        (row, of_class, next(adjusted) if of_class else None)
        for row, of_class in zip(comparison.rows, found, strict=True)
    ]
    rows.sort(key=lambda row: -(row[0]["train_count"] or 0))
    return [
        (["-" if row[key] is None else str(row[key]) for key in _CLASS_KEYS], of_class, p)
        for row, of_class, p in rows
    ]


def _text(
    comparisons: Sequence[Comparison],
    headers: list[str],
    table: list[list[str]],
    left: int,
    fmt: str,
    caption: str,
) -> str:
    """A table of rows that belong to one comparison each; places that differ are columns."""
    check_choice("format", fmt, TABLE_FORMATS)
    for name in reversed(_PLACE):
        values = [getattr(c, name) for c in comparisons]
        if len(set(values)) > 1:
            headers = [name, *headers]
            table = [[value, *row] for value, row in zip(values, table, strict=True)]
            left += 1
    return text_table(table, headers, left, fmt, caption)


def _caption(comparisons: Sequence[Comparison]) -> str:
    """What is subtracted from what, and on which images and seeds."""
    shared = {name: {getattr(c, name) for c in comparisons} for name in _PLACE}
    said = [f"{n} {next(iter(values))}" for n, values in shared.items() if len(values) == 1]
    images = ", ".join(f"{n:,}" for n in sorted({c.images for c in comparisons}))
    if any(c.own_images for c in comparisons):
        images += " (other ones for each seed, so that its interval is over both)"
    seeds = sorted({seed for c in comparisons for seed in c.seeds})
    numbers = ", ".join(map(str, seeds))
    return (
        f"differences, {', '.join([*said, f'images {images}', f'seeds {numbers}'])}; "
        "points of average precision, mean ± standard deviation over seeds"
    )


def _of(comparison: Comparison) -> list[str]:
    return [*(getattr(comparison, name) for name in _PLACE), comparison.method]


def _numbers(found: Uncertainty | None) -> list[object]:
    """The figures of a row of csv."""
    if found is None:
        return [None] * len(_FIGURES)
    bounds = [getattr(found, kind) for kind in _INTERVALS]
    ends = [end for b in bounds for end in ((b.low, b.high) if b else (None, None))]
    return [found.mean, found.deviation, *ends, f"{found.p:.3g}"]


def _difference(found: Uncertainty | None) -> str:
    if found is None:
        return "-"
    spread = "" if found.deviation is None else f" ± {found.deviation:.2f}"
    return f"{found.mean:+.2f}{spread}"


def _bounds(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:+.2f} to {interval.high:+.2f}"


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _starred(value: float | None) -> str:
    return f"{_p(value) or '-'}{'*' if value is not None and value < _SIGNIFICANT else ''}"
