"""A reliability diagram; matplotlib is imported only when drawing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from common.files import write_figure
from evaluation.fitted.calibration import BINS, Reliability

__all__ = ["plot_reliability"]

_COLORS = ("#D55E00", "#0072B2")  # Okabe and Ito


def plot_reliability(bins: Mapping[str, Reliability], title: str, path: str | Path) -> None:
    """Plot the share of true predictions against their probability, and how many there are.

    Args:
        bins: one or two series by their names in the legend.
        title: above the plot.
        path: image to write; its suffix chooses the format (png, pdf, svg).

    Raises:
        ImportError: matplotlib is not installed.
    """
    from matplotlib.figure import Figure  # draws without a display and without global state

    figure = Figure(figsize=(5, 6), dpi=150, layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="calibrated")
    for place, (name, series) in enumerate(bins.items()):
        _draw(above, below, series, name, place, len(bins))
    above.set(ylabel="share present", xlim=(0, 1), ylim=(0, 1), title=title)
    above.legend(frameon=False, loc="upper left")
    below.set(xlabel="predicted probability", ylabel="predictions", yscale="log")
    below.set_ylim(bottom=0.5)  # a bin of one prediction is seen
    for axes in (above, below):
        axes.grid(alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)


def _draw(
    above: Any,  # noqa: ANN401 - matplotlib is not imported here
    below: Any,  # noqa: ANN401
    series: Reliability,
    name: str,
    place: int,
    of: int,
) -> None:
    """A line through the bins that hold something, and their counts as bars side by side."""
    filled = series.count > 0
    color = _COLORS[place]
    points = series.predicted[filled].tolist(), series.present[filled].tolist()
    above.plot(*points, color=color, marker="o", markersize=4, label=name, clip_on=False)
    width = 0.9 / BINS / of
    left = torch.arange(BINS) / BINS + 0.05 / BINS + place * width
    below.bar(left.tolist(), series.count.tolist(), width, align="edge", color=color)
