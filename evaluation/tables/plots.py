"""Plots over the classes of a long-tailed data set; matplotlib is imported only when drawing."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.files import write_figure
from common.groups import GROUPS
from evaluation.results.reports import Method, runs_by_method
from evaluation.tables.result_tables import method_labels

__all__ = ["plot_frequency_ap"]

GROUP_COLORS = dict(zip(GROUPS, ("#0072B2", "#E69F00", "#D55E00"), strict=True))  # Okabe and Ito
MARKERS = "osD^vPX*<>ph"


def plot_frequency_ap(results: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Plot the AP of each class against its training count; needs matplotlib.

    Colours are groups, marker shapes are trainers; large outlined markers are the group means.
    Runs that differ in nothing but their seed are averaged.

    Args:
        results: from `load_results`, all of one data set, split and score space.
        path: image to write; its suffix chooses the format (png, pdf, svg).

    Raises:
        ValueError: the results do not belong into one plot, or lack training counts.
    """
    methods = runs_by_method(results)
    shared = {(r["dataset"], r["split"], r["score"]) for r in results}
    if len(shared) != 1:
        raise ValueError(f"expected one data set, split and score space, got {sorted(shared)}")
    if len(methods) > len(MARKERS):
        raise ValueError(
            f"a plot shows at most {len(MARKERS)} methods, got {len(methods)}: name fewer folders"
        )
    if any(row["train_count"] is None for r in results for row in r["per_class"]):
        raise ValueError("expected a training count of every class; call describe_classes() first")

    from matplotlib.figure import Figure  # draws without a display and without global state

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for i, (label, runs) in enumerate(zip(_labels(methods), methods.values(), strict=True)):
        axes.scatter([], [], color="0.35", marker=MARKERS[i], label=label)
        _scatter_method(axes, runs, MARKERS[i], place=(i + 1) / (len(methods) + 1))
    for group, color in GROUP_COLORS.items():
        axes.scatter([], [], color=color, marker="s", label=group)
    axes.scatter([], [], color="white", edgecolors="black", s=110, label="mean of the group")

    dataset, split, score = shared.pop()
    unseen = any(row["train_count"] == 0 for r in results for row in r["per_class"])
    axes.set_xscale("symlog" if unseen else "log")  # a plain logarithm would drop unseen classes
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="training images of the class", ylabel="average precision (%)")
    axes.set_title(f"{dataset}, {split} split, {score} scores")
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    write_figure(path, figure)


def _labels(methods: Mapping[Method, Sequence]) -> list[str]:
    """Methods' names, and the number of their runs where there are several."""
    seeds = [f" ({len(runs)} seeds)" if len(runs) > 1 else "" for runs in methods.values()]
    return [label + n for label, n in zip(method_labels(methods), seeds, strict=True)]


def _scatter_method(
    axes: Any,  # noqa: ANN401 - matplotlib is not imported here
    runs: Sequence[Mapping[str, Any]],
    marker: str,
    place: float,
) -> None:
    """Draw each class, its AP averaged over the runs, and the mean of each group.

    `place` in (0, 1) sets the means of several methods side by side within their group.
    """
    classes: dict[tuple, list[float]] = {}
    for row in (row for run in runs for row in run["per_class"] if row["AP"] is not None):
        classes.setdefault((row["name"], row["group"], row["train_count"]), []).append(row["AP"])
    for group, color in GROUP_COLORS.items():
        members = [(n, statistics.mean(ap)) for (_, g, n), ap in classes.items() if g == group]
        if not members:
            continue
        counts, precisions = zip(*members, strict=True)
        axes.scatter(counts, precisions, s=28, color=color, marker=marker, alpha=0.5, linewidths=0)
        lowest = max(min(counts), 1)
        center = lowest * (max(*counts, 1) / lowest) ** place
        mean = statistics.mean(precisions)
        axes.scatter(center, mean, s=110, color=color, marker=marker, edgecolors="black", zorder=3)
