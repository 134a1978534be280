"""Published figures beside those of our runs: docs/published.csv, joined by names.

Names of data sets, methods and backbones agree if their letters and digits do, + read as P: TaIDPT
is TaI-DPT, DualCoOpPP is DualCoOp++, ZeroshotCLIP is zero-shot CLIP, and VOCLT is VOC-LT.

A row's metric is a name of results.json. Published CLIP rows on VOC-LT and COCO-LT rank by the
softmax, so it is mAP_softmax there; groups are compared where the run was tested with TEST.SCORE
softmax.

A row's protocol begins with that of `comparing.published_protocols`; what follows a semicolon is
said of it and not compared. An empty one is of runs of any protocol.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from common.files import read_text
from common.groups import GROUPS
from evaluation.comparing.published_protocols import in_published_protocols
from evaluation.results.reports import Method, Run, runs_by_method
from evaluation.tables.result_tables import check_layout, spread_caption
from evaluation.tables.table_text import Cell, cell_text, csv_text, mean_cell, text_table

__all__ = ["PUBLISHED", "published_table"]

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "published.csv"

_CLASSES = ("total", *GROUPS)
_OUR_FACTS = {"method": "trainer", "backbone": "backbone"}  # columns, and RUN_KEYS of ours
_LEFT = ("data set", "method", "backbone", "protocol", "metric", "classes")

Row = dict[str, str]  # of docs/published.csv
Methods = Sequence[tuple[Method, Sequence[Run]]]  # runs of one protocol, with what they share


def published_table(
    results: Sequence[Run], fmt: str = "plain", spread: str = "std", path: Path = PUBLISHED
) -> str:
    """Tabulate published mAP, ours, and ours minus the published one, in percent.

    A row without a backbone in its source stands beside each of ours. Published methods without a
    run of ours are listed too; so are our methods for which nothing is published.

    Args:
        results: from `results.reports.load_results`; of other data sets nothing is shown.
        fmt: see `tables.result_tables.results_table`; csv has the sources' addresses.
        spread: see `tables.result_tables.results_table`.
        path: of published.csv.

    Raises:
        ValueError: no run is on a data set with published figures, or as for
            `evaluation.tables.result_tables.results_table`.
    """
    check_layout(results, fmt, spread, best=False)
    rows = list(csv.DictReader(io.StringIO(read_text(path))))
    datasets = list(dict.fromkeys(row["dataset"] for row in rows))
    methods = _methods(in_published_protocols(results))
    joined = [row for name in datasets for row in _joined(methods, rows, name)]
    if not joined:
        found = ", ".join(sorted({str(run["dataset"]) for run in results}))
        raise ValueError(f"published figures are of {', '.join(datasets)}, runs of {found}")
    if fmt == "csv":
        headers = [*_LEFT, "config", "seeds", "ours", "ours_std", "published", "difference"]
        table = (
            [*left, config, seeds, cell.mean, cell.std, published, _minus(cell, published), source]
            for left, config, seeds, cell, published, source in joined
        )
        return csv_text([*headers, "source"], table)
    table = [
        [*left, config or "-", str(seeds or "-"), cell_text(cell, spread), _text(published)]
        + [_text(_minus(cell, published), "+"), source.partition(" http")[0] or "-"]
        for left, config, seeds, cell, published, source in joined
    ]
    headers = [*_LEFT, "config", "seeds", "ours", "published", "difference", "source"]
    caption = spread_caption("published figures as claimed elsewhere", spread)
    return text_table(table, headers, len(_LEFT) + 1, fmt, caption)


def _methods(results: Sequence[Run]) -> Methods:
    """The runs of each method and protocol."""
    by_protocol: dict[str, list[Run]] = {}
    for run in results:
        by_protocol.setdefault(run["protocol"], []).append(run)
    return [pair for runs in by_protocol.values() for pair in runs_by_method(runs).items()]


def _joined(methods: Methods, rows: Sequence[Row], dataset: str) -> list[tuple]:
    """Rows of one data set: facts, config, seeds, our cell, published figure and its source."""
    mine = [(key, runs) for key, runs in methods if _same(key.dataset, dataset)]
    if not mine:
        return []
    joined, matched = [], set()
    rows = [row for row in rows if row["dataset"] == dataset]
    for row in rows:
        alike = [n for n, (_, runs) in enumerate(mine) if _protocol_fits(runs, row)]
        if not alike:
            continue  # hundreds of rows are of other protocols
        fits = [n for n in alike if _fits(mine[n][0], row)]
        matched.update(fits)
        for key, runs in [mine[n] for n in fits] or [(None, ())]:
            joined += _rows_of(row, key, runs)
    for number, (key, runs) in enumerate(mine):
        if number not in matched:
            facts = {name: getattr(key, of) for name, of in _OUR_FACTS.items()}
            nothing = dict.fromkeys((*_CLASSES, "source"), "")
            about = {"dataset": dataset, "metric": rows[0]["metric"]}
            protocol = {"protocol": runs[0]["protocol"]}
            joined += _rows_of({**facts, **nothing, **about, **protocol}, key, runs)
    return joined


def _rows_of(row: Row, key: Method | None, runs: Sequence[Run]) -> list[tuple]:
    """Rows of a published one: its mAP over all classes, then groups that either side has."""
    of_row = []
    for classes in _CLASSES:
        cell = mean_cell([_ours(run, row["metric"], classes) for run in runs])
        published = float(row[classes]) if row[classes] else None
        if classes != "total" and cell.mean is None and published is None:
            continue
        stated = [row[name] or "not stated" for name in ("backbone", "protocol")]
        left = (row["dataset"], row["method"], *stated, row["metric"], classes)
        config = key.config if key else ""
        of_row.append((left, config, len(runs) or None, cell, published, row["source"]))
    return of_row


def _ours(run: Run, metric: str, classes: str) -> float | None:
    """Our figure for a row's metric, over all classes or those of a group."""
    metrics = run["metrics"]
    if classes == "total":
        return metrics.get(metric)
    comparable = metric == "mAP" or (metric == "mAP_softmax" and run["score"] == "softmax")
    return metrics.get(f"mAP_{classes}") if comparable else None


def _protocol_fits(runs: Sequence[Run], row: Row) -> bool:
    """Whether runs are of a row's protocol; those that do not say theirs are of any row without."""
    wanted = row["protocol"].partition(";")[0]
    return not wanted or all(run["protocol"] == wanted for run in runs)


def _fits(key: Method, row: Row) -> bool:
    """Whether a published row is of our method; one without a backbone is of any."""
    return all(
        not row[name] or _same(getattr(key, of), row[name]) for name, of in _OUR_FACTS.items()
    )


def _same(ours: str, published: str) -> bool:
    plain = [re.sub(r"[^a-z0-9]", "", n.casefold().replace("+", "p")) for n in (ours, published)]
    return plain[0] == plain[1]


def _minus(cell: Cell, published: float | None) -> float | None:
    return None if cell.mean is None or published is None else cell.mean - published


def _text(number: float | None, sign: str = "") -> str:
    return "-" if number is None else f"{number:{sign}.2f}"
