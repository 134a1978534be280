"""Tables of results: one row for each method, or one for each class."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from itertools import compress

from common.choices import check_choice, hint
from common.groups import GROUPS
from evaluation.results.reports import RUN_KEYS, Method, Run, runs_by_method
from evaluation.tables.table_text import (
    SPREADS,
    TABLE_FORMATS,
    Cell,
    bold_best,
    cell_text,
    csv_text,
    mean_cell,
    text_table,
)

__all__ = [
    "check_layout",
    "class_table",
    "column_texts",
    "method_labels",
    "metric_columns",
    "results_table",
    "spread_caption",
    "summarise",
    "time_spent",
]

METRICS = {"all": "mAP", **{group: f"mAP_{group}" for group in GROUPS}}
SINGLE_LABEL = {"accuracy": "accuracy", "macro F1": "macro_f1"}  # of Dassl's own evaluator
_CLASS_FACTS = ("group", "train_count")
_LESS_IS_BETTER = ("error_rate",)


def results_table(
    results: Sequence[Run],
    fmt: str = "plain",
    spread: str = "std",
    metrics: Sequence[str] | None = None,
    best: bool = False,
) -> str:
    """Tabulate the metrics, in percent, and the minutes a run took; one row for each method.

    Runs that differ in nothing but their seed share a row: mean ± spread, or the bare value of a
    single run. What all rows have in common stands above the table; how recipes were chosen has a
    column where a run says it.

    Args:
        results: from `evaluation.results.reports.load_results`.
        fmt: plain, markdown, csv (every spread in a column of its own) or latex (booktabs).
        spread: std (sample standard deviation) or ci95 (half the 95% confidence interval of the
            mean, by Student's t).
        metrics: names in results.json; default: mAP over all, head, medium and tail classes, and
            accuracy and macro F1 where a data set has one label per image.
        best: whether the best of each column is bold, in markdown.

    Raises:
        ValueError: unknown format, spread or metric, no results, two runs of one row have the
            same seed, or bold in another format.
    """
    check_layout(results, fmt, spread, best)
    columns = metric_columns(results, metrics)
    methods = runs_by_method(results)
    rows = []
    for method, runs in methods.items():
        cells = [mean_cell([run["metrics"].get(key) for run in runs]) for key in columns.values()]
        rows.append(([*method, str(len(runs))], cells, (_recipes(runs), _minutes(runs))))
    # Of the last columns those that say something.
    said = [any(texts) for texts in zip(*(last for _, _, last in rows), strict=True)]
    right = list(compress(("recipe", "minutes"), said))
    if fmt == "csv":
        rows = [(names, cells, tuple(compress(last, said))) for names, cells, last in rows]
        return _csv([*RUN_KEYS, "seeds"], columns, right, rows)
    shown = [key == "trainer" or d for key, d in zip(RUN_KEYS, _differing(methods), strict=True)]
    texts = column_texts([cells for _, cells, _ in rows], list(columns.values()), spread, best)
    table = [
        [*compress(left, [*shown, True]), *row, *(text or "-" for text in compress(last, said))]
        for (left, _, last), row in zip(rows, texts, strict=True)
    ]
    headers = [*compress(RUN_KEYS, shown), "seeds", *columns, *right]
    common = compress(zip(RUN_KEYS, next(iter(methods)), strict=True), [not s for s in shown])
    caption = ", ".join(f"{key} {value}" for key, value in common if value != "-")
    return text_table(table, headers, sum(shown), fmt, spread_caption(caption, spread))


def class_table(
    results: Sequence[Run], fmt: str = "plain", spread: str = "std", best: bool = False
) -> str:
    """Tabulate the average precision of each class, the most frequent first; methods are columns.

    Args:
        results: see `results_table`; all of one data set and split.
        fmt: see `results_table`.
        spread: see `results_table`.
        best: whether the best method of each class is bold, in markdown.

    Raises:
        ValueError: as for `results_table`; or the results have no classes, or not the same.
    """
    check_layout(results, fmt, spread, best)
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
        cells = [mean_cell(values) for values in of_class]
        rows.append((left, cells, ()))
    left = ["class", "group", "train"]
    if fmt == "csv":
        return _csv(left, labels, [], rows)
    table = []
    for names, cells, _ in rows:
        texts = [cell_text(cell, spread) for cell in cells]
        table.append([*names, *(bold_best(cells, texts) if best else texts)])
    (dataset, split), *_ = places
    caption = f"average precision, dataset {dataset}, split {split}"
    return text_table(table, [*left, *labels], 2, fmt, spread_caption(caption, spread))


def summarise(runs: Sequence[Run]) -> dict[str, str]:
    """Mean ± sample standard deviation of some runs, over all, head, medium and tail classes."""
    return {
        name: cell_text(mean_cell([run["metrics"].get(key) for run in runs]), "std")
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


def method_labels(methods: Mapping[Method, Sequence[Run]]) -> list[str]:
    """Name each method by its trainer and by whatever else tells the methods apart.

    Args:
        methods: from `evaluation.results.reports.runs_by_method`.
    """
    differing = _differing(methods)
    shown = [d or key == "trainer" for d, key in zip(differing, RUN_KEYS, strict=True)]
    return [" ".join(compress(method, shown)) for method in methods]


def _differing(methods: Mapping[Method, Sequence[Run]]) -> list[bool]:
    """For each of RUN_KEYS, whether the methods have several values of it."""
    return [len(set(values)) > 1 for values in zip(*methods, strict=True)]


def check_layout(results: Sequence[Run], fmt: str, spread: str, best: bool) -> None:
    """Refuse what no table can be made of; arguments as of `results_table`.

    Raises:
        ValueError: an unknown format or spread, bold in another format than markdown, no results.
    """
    check_choice("format", fmt, TABLE_FORMATS)
    check_choice("spread", spread, SPREADS)
    if best and fmt != "markdown":
        raise ValueError(f"bold needs the format markdown, got {fmt}")
    if not results:
        raise ValueError("expected at least one result, got none")


def metric_columns(results: Sequence[Run], metrics: Sequence[str] | None) -> dict[str, str]:
    """Headers, each with its name in results.json; arguments as of `results_table`.

    Raises:
        ValueError: no run has one of the metrics.
    """
    found = list(dict.fromkeys(key for run in results for key in run["metrics"]))
    unknown = [key for key in metrics or () if key not in found]
    if unknown:
        raise ValueError(
            f"metrics must be among {', '.join(found)}, got {', '.join(unknown)}."
            f"{hint(unknown[0], found)}"
        )
    if metrics:
        return {key: key for key in metrics}
    usual = [
        family for family in (METRICS, SINGLE_LABEL) if found.count(next(iter(family.values())))
    ]
    return {k: v for family in usual for k, v in family.items()} or {key: key for key in found}


def column_texts(
    rows: Sequence[Sequence[Cell]], metrics: Sequence[str], spread: str, best: bool
) -> list[list[str]]:
    """Rows of cells as text.

    Args:
        rows: of one cell for each metric.
        metrics: names in results.json.
        spread: see `results_table`.
        best: whether the best of each column is bold.
    """
    columns = []
    for metric, *cells in zip(metrics, *rows, strict=True):
        texts = [cell_text(cell, spread) for cell in cells]
        columns.append(bold_best(cells, texts, metric in _LESS_IS_BETTER) if best else texts)
    return [list(row) for row in zip(*columns, strict=True)]


def spread_caption(text: str, spread: str) -> str:
    """A caption that also says what follows a mean."""
    return f"{text}{'; ' * bool(text)}percent, mean ± {SPREADS[spread]} over seeds"


def _recipes(runs: Sequence[Run]) -> str:
    """How the runs' recipes were chosen, as "val, 24 trials"; empty if none says it."""
    said = [run["recipe"] for run in runs if run.get("recipe")]
    texts = [f"{recipe['chosen_on']}, {recipe['trials']} trials" for recipe in said]
    return "; ".join(dict.fromkeys(texts))


def _minutes(runs: Sequence[Run]) -> str:
    """Mean wall-clock minutes of the runs that were timed; empty if none was."""
    seconds = [run["seconds"] for run in runs if run.get("seconds")]
    return f"{statistics.mean(seconds) / 60:.2f}" if seconds else ""


def _csv(left: Sequence[str], columns: Sequence[str], right: Sequence[str], rows: list) -> str:
    """A number in each cell: means, and both spreads, in columns of their own."""
    means = [header for name in columns for header in (name, *(f"{name}_{s}" for s in SPREADS))]
    table = (
        [*names, *(number for cell in cells for number in cell), *last]
        for names, cells, last in rows
    )
    return csv_text([*left, *means, *right], table)
