"""Tables of results: one row for each method, or one for each class."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from tabulate import tabulate

from common.groups import GROUPS
from evaluation.confidence import confidence
from evaluation.reports import RUN_KEYS, runs_by_method

__all__ = ["class_table", "method_labels", "results_table", "summarise", "time_spent"]

METRICS = {"all": "mAP", **{group: f"mAP_{group}" for group in GROUPS}}
SINGLE_LABEL = {"accuracy": "accuracy", "macro F1": "macro_f1"}  # of Dassl's own evaluator
TABLE_FORMATS = {"plain": "simple", "markdown": "pipe", "csv": None, "latex": "latex_booktabs"}
SPREADS = {"std": "standard deviation", "ci95": "half the 95% confidence interval"}
_CLASS_FACTS = ("group", "train_count")

Run = Mapping[str, Any]
Cell = tuple[float | None, Mapping[str, float | None]]  # mean, and its spread by SPREADS


def results_table(
    results: Sequence[Run],
    fmt: str = "plain",
    spread: str = "std",
    metrics: Sequence[str] | None = None,
) -> str:
    """Tabulate the metrics, in percent, and the minutes a run took; one row for each method.

    Runs that differ in nothing but their seed share a row: mean ± spread, or the bare value of a
    single run. What all rows have in common stands above the table.

    Args:
        results: from :func:`evaluation.reports.load_results`.
        fmt: plain, markdown, csv (every spread in a column of its own) or latex (booktabs).
        spread: std (sample standard deviation) or ci95 (half the 95% confidence interval of the
            mean, by Student's t).
        metrics: names in results.json; default: mAP over all, head, medium and tail classes, and
            accuracy and macro F1 where a data set has one label per image.

    Raises:
        ValueError: unknown format, spread or metric, no results, or two runs of one row have the
            same seed.
    """
    _check(results, fmt, spread)
    columns = _columns(results, metrics)
    methods = runs_by_method(results)
    rows = []
    for method, runs in methods.items():
        cells = [_cell([run["metrics"].get(key) for run in runs]) for key in columns.values()]
        rows.append(([*method, str(len(runs))], cells, _minutes(runs)))
    timed = any(minutes for _, _, minutes in rows)
    right = ["minutes"] if timed else []
    if fmt == "csv":
        return _csv([*RUN_KEYS, "seeds"], columns, right, rows)
    shown = [key == "trainer" or d for key, d in zip(RUN_KEYS, _differing(methods), strict=True)]
    table = [
        [*compress(left, [*shown, True]), *(_text(cell, spread) for cell in cells)]
        + [minutes or "-"] * timed
        for left, cells, minutes in rows
    ]
    headers = [*compress(RUN_KEYS, shown), "seeds", *columns, *right]
    common = compress(zip(RUN_KEYS, next(iter(methods)), strict=True), [not s for s in shown])
    caption = ", ".join(f"{key} {value}" for key, value in common if value != "-")
    return _text_table(table, headers, sum(shown), fmt, _caption(caption, spread))


def class_table(results: Sequence[Run], fmt: str = "plain", spread: str = "std") -> str:
    """Tabulate the average precision of each class, the most frequent first; methods are columns.

    Args:
        results: see :func:`results_table`; all of one data set and split.
        fmt: see :func:`results_table`.
        spread: see :func:`results_table`.

    Raises:
        ValueError: as for :func:`results_table`; or the results have no classes, or not the same.
    """
    _check(results, fmt, spread)
    methods = runs_by_method(results)
    places = {(run["dataset"], run["split"]) for run in results}
    names = {tuple(row["name"] for row in run["per_class"]) for run in results}
    if len(places) != 1 or len(names) != 1 or names == {()}:
        raise ValueError(
            "a table of classes needs multi-label results of one data set and split, "
            f"got {', '.join(sorted(f'{dataset} ({split})' for dataset, split in places))}"
        )
    labels = method_labels(methods)
    # As counted in the first run; hold-outs and few shots may differ by a few between seeds.
    first = list(enumerate(results[0]["per_class"]))
    first.sort(key=lambda numbered: -(numbered[1]["train_count"] or 0))
    rows = []
    for place, row in first:
        left = [row["name"], *("-" if row[k] is None else str(row[k]) for k in _CLASS_FACTS)]
        of_class = [[run["per_class"][place]["AP"] for run in runs] for runs in methods.values()]
        cells = [_cell(values) for values in of_class]
        rows.append((left, cells, ""))
    left = ["class", "group", "train"]
    if fmt == "csv":
        return _csv(left, labels, [], rows)
    table = [[*names, *(_text(cell, spread) for cell in cells)] for names, cells, _ in rows]
    (dataset, split), *_ = places
    caption = f"average precision, dataset {dataset}, split {split}"
    return _text_table(table, [*left, *labels], 2, fmt, _caption(caption, spread))


def summarise(runs: Sequence[Run]) -> dict[str, str]:
    """Mean ± sample standard deviation of some runs, over all, head, medium and tail classes."""
    return {
        name: _text(_cell([run["metrics"].get(key) for run in runs]), "std")
        for name, key in METRICS.items()
    }


def time_spent(results: Sequence[Run]) -> str:
    """One line: the seconds of runs that were timed, and what they went into; may be empty."""
    timed = [run for run in results if run.get("seconds")]
    if not timed:
        return ""
    total = sum(run["seconds"] for run in timed)
    parts = {
        part: sum(run.get("seconds_spent", {}).get(part, 0.0) for run in timed)
        for part in ("caching", "training")
    }
    shares = ", ".join(f"{part} {seconds:.0f}" for part, seconds in parts.items())
    rest = total - sum(parts.values())
    return f"{total:.0f} in {len(timed)} runs: {shares}, start-up and evaluation {rest:.0f}"


def method_labels(methods: Mapping[tuple, Sequence[Run]]) -> list[str]:
    """Name each method by its trainer and by whatever else tells the methods apart.

    Args:
        methods: from :func:`evaluation.reports.runs_by_method`.
    """
    differing = _differing(methods)
    shown = [d or key == "trainer" for d, key in zip(differing, RUN_KEYS, strict=True)]
    return [" ".join(compress(method, shown)) for method in methods]


def _differing(methods: Mapping[tuple, Sequence[Run]]) -> list[bool]:
    """For each of RUN_KEYS, whether the methods have several values of it."""
    return [len(set(values)) > 1 for values in zip(*methods, strict=True)]


def _check(results: Sequence[Run], fmt: str, spread: str) -> None:
    for what, value, known in (("format", fmt, TABLE_FORMATS), ("spread", spread, SPREADS)):
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}, got {value!r}")
    if not results:
        raise ValueError("expected at least one result, got none")


def _columns(results: Sequence[Run], metrics: Sequence[str] | None) -> dict[str, str]:
    """Headers, each with its name in results.json."""
    found = list(dict.fromkeys(key for run in results for key in run["metrics"]))
    unknown = [key for key in metrics or () if key not in found]
    if unknown:
        raise ValueError(f"metrics must be among {', '.join(found)}, got {', '.join(unknown)}")
    if metrics:
        return {key: key for key in metrics}
    usual = [
        family for family in (METRICS, SINGLE_LABEL) if found.count(next(iter(family.values())))
    ]
    return {k: v for family in usual for k, v in family.items()} or {key: key for key in found}


def _cell(values: Sequence[float | None]) -> Cell:
    """Mean and spreads; None where one of the values is, and spreads of a single value."""
    if None in values:
        return None, dict.fromkeys(SPREADS)
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return statistics.mean(values), {"std": deviation, "ci95": confidence(values)}


def _minutes(runs: Sequence[Run]) -> str:
    """Mean wall-clock minutes of the runs that were timed; empty if none was."""
    seconds = [run["seconds"] for run in runs if run.get("seconds")]
    return f"{statistics.mean(seconds) / 60:.2f}" if seconds else ""


def _text(cell: Cell, spread: str) -> str:
    mean, spreads = cell
    if mean is None:
        return "-"
    width = spreads[spread]
    return f"{mean:.2f}" if width is None else f"{mean:.2f} ± {width:.2f}"


def _caption(text: str, spread: str) -> str:
    return f"{text}{'; ' * bool(text)}percent, mean ± {SPREADS[spread]} over seeds"


def _text_table(
    table: list[list[str]], headers: list[str], left: int, fmt: str, caption: str
) -> str:
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


def _csv(left: Sequence[str], columns: Sequence[str], right: Sequence[str], rows: list) -> str:
    """A number in each cell: means, and both spreads, in columns of their own."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    means = [header for name in columns for header in (name, *(f"{name}_{s}" for s in SPREADS))]
    writer.writerow([*left, *means, *right])
    for names, cells, minutes in rows:
        numbers = [number for mean, spreads in cells for number in (mean, *spreads.values())]
        written = ["" if number is None else f"{number:.2f}" for number in numbers]
        writer.writerow([*names, *written, *([minutes] if right else [])])
    return buffer.getvalue()
