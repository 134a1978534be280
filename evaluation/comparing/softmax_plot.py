"""Plot of what a softmax over the classes costs; matplotlib is imported only when drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from common.files import write_figure
from evaluation.comparing.difference_plot import COLORS
from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.output_link import LINKED
from evaluation.results.reports import runs_by_method
from evaluation.results.run_scores import link_of, load_run_scores
from evaluation.results.saved_scores import rank_scores
from evaluation.tables.plots import MARKERS
from evaluation.tables.result_tables import method_labels

__all__ = ["SHARES", "plot_softmax", "softmax_path"]

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # a, the share of logsumexp(z) that is subtracted


def softmax_path(run: Mapping[str, Any]) -> tuple[list[float], float | None]:
    """How a run's mAP changes on the way from logits z to their softmax.

    Args:
        run: from `load_results`; its scores.npz lies beside it.

    Returns:
        mAP in percent of z - a logsumexp(z), for a of `SHARES`; and of the softmax behind the run's
        output link, None without one.

    Raises:
        FileNotFoundError: its scores were not saved.
        ValueError: they are damaged or not its own.
    """
    saved, link = load_run_scores(run), link_of(run)
    logits = saved.logits.double()
    level = logits.logsumexp(dim=1, keepdim=True)  # [N, 1]
    ranked = [logits - share * level for share in SHARES]
    if link:
        ranked.append(rank_scores(logits, LINKED, link))
    found = [100 * average_precision(r, saved.targets).nanmean().item() for r in ranked]
    return found[: len(SHARES)], found[-1] if link else None


def plot_softmax(results: Sequence[Mapping[str, Any]], path: str | Path) -> None:
    """Plot mAP on the way from logits to a softmax over the classes; needs matplotlib.

    A line for each method, its mean over seeds. Beside the end of its line stands what a softmax
    gives behind the output link, for runs that have one.

    Args:
        results: from `load_results`, all of one data set and split.
        path: image to write; its suffix chooses the format (png, pdf, svg).

    Raises:
        FileNotFoundError: as `softmax_path`.
        ValueError: likewise; or the results do not belong into one plot.
    """
    places = {(run["dataset"], run["split"]) for run in results}
    if len(places) != 1:
        raise ValueError(f"expected one data set and split, got {sorted(places)}")
    methods = runs_by_method(results)
    if len(methods) > len(MARKERS):
        raise ValueError(f"a plot shows at most {len(MARKERS)} methods, got {len(methods)}")

    from matplotlib.figure import Figure  # draws without a display and without global state

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    for i, (label, runs) in enumerate(zip(method_labels(methods), methods.values(), strict=True)):
        marker, color = MARKERS[i], COLORS[i % len(COLORS)]
        style = "-" if i < len(COLORS) else "--"
        paths = [softmax_path(run) for run in runs]
        means = torch.tensor([values for values, _ in paths]).mean(dim=0).tolist()
        axes.plot(SHARES, means, style, color=color, marker=marker, markersize=4, label=label)
        if all(linked is not None for _, linked in paths):
            height = mean(linked for _, linked in paths)
            axes.plot([1.15], [height], marker=marker, color=color, markersize=6)
    axes.set_xticks([*SHARES, 1.15], ["logits", "0.25", "0.5", "0.75", "softmax", "link"])
    axes.set(xlabel="share a of logsumexp(z) subtracted from the logits z", ylabel="mAP (%)")
    ((dataset, split),) = places
    axes.set_title(f"{dataset}, {split} split")
    axes.grid(alpha=0.25, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    write_figure(path, figure)
