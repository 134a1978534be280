"""A table of several data sets: a row for each method, and columns for each data set."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress

from evaluation.results.reports import RUN_KEYS, Run, runs_by_method
from evaluation.tables.result_tables import (
    check_layout,
    column_texts,
    metric_columns,
    spread_caption,
)
from evaluation.tables.table_text import SPREADS, csv_text, mean_cell, text_table

__all__ = ["side_by_side_table"]

_METHOD_KEYS = tuple(key for key in RUN_KEYS if key != "dataset")


def side_by_side_table(
    results: Sequence[Run],
    fmt: str = "plain",
    spread: str = "std",
    metrics: Sequence[str] | None = None,
    best: bool = False,
) -> str:
    """Tabulate the metrics of each data set, in percent, in columns of its own.

    A method's runs on a data set are averaged over their seeds.

    Args:
        results: see `evaluation.tables.result_tables.results_table`, as are all others.
        fmt: see `results`; csv has both spreads in columns of their own.
        spread: see `results`.
        metrics: see `results`.
        best: see `results`.

    Raises:
        ValueError: as for `evaluation.tables.result_tables.results_table`.
    """
    check_layout(results, fmt, spread, best)
    columns = metric_columns(results, metrics)
    datasets = list(dict.fromkeys(run["dataset"] for run in results))
    rows = _rows(results)
    cells = [
        [
            mean_cell([run["metrics"].get(metric) for run in runs.get(dataset, ())])
            for dataset in datasets
            for metric in columns.values()
        ]
        for runs in rows.values()
    ]
    seeds = ["/".join(str(len(runs.get(name, ()))) for name in datasets) for runs in rows.values()]
    names = [f"{dataset} {name}" for dataset in datasets for name in columns]
    if fmt == "csv":
        means = [header for name in names for header in (name, *(f"{name}_{s}" for s in SPREADS))]
        numbers = ([number for cell in row for number in cell] for row in cells)
        table = ([*key, n, *row] for key, n, row in zip(rows, seeds, numbers, strict=True))
        return csv_text([*_METHOD_KEYS, "seeds", *means], table)
    shown = [
        key == "trainer" or len(set(values)) > 1
        for key, values in zip(_METHOD_KEYS, zip(*rows, strict=True), strict=True)
    ]
    texts = column_texts(cells, [*columns.values()] * len(datasets), spread, best)
    table = [[*compress(key, shown), n, *t] for key, n, t in zip(rows, seeds, texts, strict=True)]
    headers = [*compress(_METHOD_KEYS, shown), "seeds", *names]
    common = compress(zip(_METHOD_KEYS, next(iter(rows)), strict=True), [not s for s in shown])
    caption = ", ".join(f"{key} {value}" for key, value in common if value != "-")
    return text_table(table, headers, sum(shown), fmt, spread_caption(caption, spread))


def _rows(results: Sequence[Run]) -> dict[tuple, dict[str, Sequence[Run]]]:
    """Runs of each method by data set; a method is what `_METHOD_KEYS` tell apart."""
    rows: dict[tuple, dict[str, Sequence[Run]]] = {}
    for key, runs in runs_by_method(results).items():
        facts = dict(zip(RUN_KEYS, key, strict=True))
        method = tuple(facts[name] for name in _METHOD_KEYS)
        rows.setdefault(method, {})[facts["dataset"]] = runs
    return rows
