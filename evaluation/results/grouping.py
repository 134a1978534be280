"""Mean average precision over classes and over groups of them, from the rows of results.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from common.groups import GROUPS
from evaluation.results.reports import Run

__all__ = ["group_means", "grouped_as"]

_FACTS = ("group", "train_count")
_GROUP_METRICS = {group: f"mAP_{group}" for group in GROUPS}


def group_means(per_class: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return mAP, and mAP_head, mAP_medium and mAP_tail as far as there are such classes.

    Args:
        per_class: rows with "group" and "AP", which is None where a class has no positives.
    """
    precisions = [(row["group"], row["AP"]) for row in per_class if row["AP"] is not None]
    members = {"mAP": [value for _, value in precisions]}
    for group, metric in _GROUP_METRICS.items():
        members[metric] = [value for own, value in precisions if own == group]
    return {metric: sum(values) / len(values) for metric, values in members.items() if values}


def grouped_as(results: Sequence[Run], reference: Run) -> list[Run]:
    """Return runs with head, medium and tail classes as in another one.

    Runs that know but a share of the labels count fewer images of each class, and so have other
    groups.

    Args:
        results: from `evaluation.results.reports.load_results`.
        reference: a run whose groups are taken.

    Raises:
        ValueError: a run has other classes than `reference`, or one of them has none.
    """
    groups = {row["name"]: {key: row[key] for key in _FACTS} for row in reference["per_class"]}
    regrouped = []
    for run in results:
        if not groups or {row["name"] for row in run["per_class"]} != set(groups):
            raise ValueError(
                f"the classes of {run['trainer']} on {run['dataset']} are not those of "
                f"{reference['trainer']} on {reference['dataset']}, whose groups are to be taken"
            )
        rows = [{**row, **groups[row["name"]]} for row in run["per_class"]]
        others = {k: v for k, v in run["metrics"].items() if k not in _GROUP_METRICS.values()}
        means = {k: v for k, v in group_means(rows).items() if k != "mAP"}
        regrouped.append({**run, "per_class": rows, "metrics": {**others, **means}})
    return regrouped
