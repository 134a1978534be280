"""The methods that a report compares: their runs over seeds, and the scores of one run of each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from evaluation.results.reports import load_results, runs_by_method
from evaluation.results.run_scores import link_of, load_run_scores
from evaluation.results.saved_scores import rank_scores
from evaluation.tables.plots import MARKERS
from evaluation.tables.result_tables import method_labels


@dataclass(frozen=True)
class Ranking:
    """Scores of a split as its metrics rank them.

    Attributes:
        scores: [N, C], fp64: logits, or log-probabilities where a softmax ranks.
        targets: [N, C], 1 present, 0 absent, -1 unknown.
        paths: N pictures.
    """

    scores: Tensor
    targets: Tensor
    paths: list[str]


@dataclass(frozen=True)
class Method:
    """Runs that differ in their seed alone.

    Attributes:
        label: tells it from the report's other methods.
        runs: results.json of each seed.
        ranking: scores of the first run; None where they were not saved.
        reason: why there is no ranking.
    """

    label: str
    runs: list[Mapping[str, Any]]
    ranking: Ranking | None
    reason: str

    @property
    def folder(self) -> Path:
        """Output folder of the first run, whose scores and weights are looked at."""
        return Path(self.runs[0]["path"]).parent

    @property
    def is_zero_shot(self) -> bool:
        """Whether this is zero-shot CLIP, with which others are compared."""
        return self.runs[0]["trainer"] == "ZeroshotCLIP"

    @property
    def precisions(self) -> list[float | None]:
        """AP of each class in percent, averaged over the runs; None where one has none."""
        columns = zip(*([row["AP"] for row in run["per_class"]] for run in self.runs), strict=True)
        return [None if None in values else sum(values) / len(values) for values in columns]


def read_methods(paths: Sequence[str | Path]) -> list[Method]:
    """Read the runs in some folders, in their order.

    Args:
        paths: output folders, or folders that hold several.

    Returns:
        One method or more, all of the same classes.

    Raises:
        FileNotFoundError: a folder holds no results.json.
        ValueError: the runs cannot stand side by side, or are more than a plot can tell apart.
    """
    results = load_results(paths)
    places = {(run["dataset"], run["split"], run["score"]) for run in results}
    names = {tuple(row["name"] for row in run["per_class"]) for run in results}
    if names == {()}:
        raise ValueError(
            "A report needs runs with several labels an image; these know no classes. "
            "scripts/parse_results.py makes a table of them."
        )
    if len(places) > 1 or len(names) > 1:
        listed = ", ".join(f"{d} ({split}, {score} scores)" for d, split, score in sorted(places))
        raise ValueError(
            f"A report is on one data set, split, score space and list of classes; got {listed} "
            f"and {len(names)} list(s) of classes. Name folders that go together."
        )
    grouped = runs_by_method(results)
    if len(grouped) > len(MARKERS):
        raise ValueError(
            f"A report shows at most {len(MARKERS)} methods, got {len(grouped)}; name fewer."
        )
    return [
        Method(label, runs, *_ranking_of(runs[0]))
        for label, runs in zip(method_labels(grouped), grouped.values(), strict=True)
    ]


def threshold_in(ranked_by: str, threshold: Mapping[str, Any] | None) -> float | None:
    """TEST.THRESHOLD among scores of `rank_scores`; None where a result has none.

    Args:
        ranked_by: "softmax" or another score space.
        threshold: of results.json, with its "value" in (0, 1).
    """
    if not threshold:
        return None
    value = threshold["value"]
    return math.log(value) if ranked_by == "softmax" else math.log(value / (1 - value))


def _ranking_of(run: Mapping[str, Any]) -> tuple[Ranking | None, str]:
    """A run's ranking, or None and the reason in a sentence."""
    try:
        saved = load_run_scores(run)
    except (FileNotFoundError, ValueError) as error:
        return None, str(error)
    ranked = rank_scores(saved.logits, run["score"], link_of(run))
    return Ranking(ranked, saved.targets, saved.paths), ""
