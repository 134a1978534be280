"""A report's tables: runs, classes and pairs of classes, as rows for the page and as csv."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from common.files import write_text
from evaluation.tables.result_tables import METRICS, summarise
from reporting.confusion import Confusion
from reporting.methods import Method

METHOD_FACTS = ("trainer", "config", "backbone", "score", "selection")
RUN_FACTS = ("trainer", "config", "backbone", "seed", "score", "selection", "epoch")
Number = float | None


class ClassRow(NamedTuple):
    """A class and what each method makes of it.

    Attributes:
        number: its column among the scores.
        name: as in the data set.
        group: head, medium, tail or None.
        train_count: training images; None if unknown.
        positives: images of the split that show it.
        precisions: AP in percent of each method, a mean over its seeds; None without positives.
        spreads: sample standard deviations over seeds; None with one seed.
    """

    number: int
    name: str
    group: str | None
    train_count: int | None
    positives: int
    precisions: list[Number]
    spreads: list[Number]


def class_rows(methods: Sequence[Method]) -> list[ClassRow]:
    """One row for each class, the most frequent in training first."""
    rows = []
    for c, facts in enumerate(methods[0].runs[0]["per_class"]):
        values = [[run["per_class"][c]["AP"] for run in method.runs] for method in methods]
        spreads = [
            statistics.stdev(own) if len(own) > 1 and None not in own else None for own in values
        ]
        precisions = [method.precisions[c] for method in methods]
        known = [facts[key] for key in ("name", "group", "train_count", "positives")]
        rows.append(ClassRow(c, *known, precisions, spreads))
    return sorted(rows, key=lambda row: -(row.train_count or 0))


def method_rows(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """One row for each method: its facts, mean ± standard deviation over seeds, mean seconds."""
    rows = []
    for method in methods:
        runs = method.runs
        seconds = [run["seconds"] for run in runs if run.get("seconds")]
        rows.append(
            {
                "label": method.label,
                **{key: runs[0].get(key) for key in METHOD_FACTS},
                "seeds": [run["seed"] for run in runs],
                "metrics": summarise(runs),
                "seconds": statistics.mean(seconds) if seconds else None,
            }
        )
    return rows


def run_rows(methods: Sequence[Method]) -> list[dict[str, Any]]:
    """One row for each run: facts, metrics in percent, seconds and where its results lie."""
    return [
        {
            "label": method.label,
            **{key: run.get(key) for key in RUN_FACTS},
            **{name: run["metrics"].get(key) for name, key in METRICS.items()},
            "seconds": run.get("seconds"),
            "path": run["path"],
        }
        for method in methods
        for run in method.runs
    ]


def write_runs(path: Path, methods: Sequence[Method]) -> None:
    """Write `run_rows` as csv."""
    rows = run_rows(methods)
    write_csv(path, list(rows[0]), (row.values() for row in rows))


def write_classes(path: Path, methods: Sequence[Method]) -> None:
    """Write `class_rows` as csv, with the differences between all methods."""
    labels = [method.label for method in methods]
    pairs = list(combinations(range(len(labels)), 2))
    headers = ["class", "group", "train_count", "positives"]
    headers += [header for label in labels for header in (f"AP {label}", f"deviation {label}")]
    headers += [f"{labels[b]} - {labels[a]}" for a, b in pairs]
    table = []
    for row in class_rows(methods):
        values = [v for pair in zip(row.precisions, row.spreads, strict=True) for v in pair]
        values += [difference(row.precisions[b], row.precisions[a]) for a, b in pairs]
        table.append([row.name, row.group, row.train_count, row.positives, *values])
    write_csv(path, headers, table)


def write_confusion(path: Path, found: Confusion, names: Sequence[str]) -> None:
    """Write the level and the number of images of every pair of classes as csv."""
    write_csv(
        path,
        ["present", "absent", "level", "images"],
        (
            [names[a], names[b], found.level[a, b].item(), found.images[a, b].item()]
            for a in range(len(names))
            for b in range(len(names))
            if a != b and found.images[a, b] > 0
        ),
    )


def write_csv(path: Path, headers: Sequence[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a table as csv, whole or not at all; None becomes an empty cell."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(headers)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    write_text(path, buffer.getvalue())


def difference(a: Number, b: Number) -> Number:
    """`a - b`; None where one of them is."""
    return None if a is None or b is None else a - b


def reference(methods: Sequence[Method]) -> int:
    """Place of the method that others are compared with: zero-shot CLIP, or else the first."""
    return next((i for i, method in enumerate(methods) if method.is_zero_shot), 0)
