"""Plot of differences with their intervals; matplotlib is imported only when drawing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from common.files import write_figure
from evaluation.comparing.comparison import Comparison
from evaluation.comparing.difference_intervals import Uncertainty

__all__ = ["COLORS", "plot_differences"]

# Okabe and Ito's, which colour-blind readers tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s")  # a second round of the colours has the other one
_BAND = 0.7  # of the room of a row that its methods share


def plot_differences(
    comparisons: Sequence[Comparison], path: str | Path, classes: bool = False
) -> None:
    """Plot differences of groups, or of single classes; needs matplotlib.

    A dot is the mean over seeds, a thin line the interval over seeds and images (over images where
    there is a single seed), a thick one that over seeds alone. A panel for each score space.

    Args:
        comparisons: from `comparing.comparison.compare`, of one data set and split.
        path: image to write; its suffix chooses the format (png, pdf, svg).
        classes: whether rows are classes, the most frequent on top, not groups.

    Raises:
        ValueError: several data sets or splits, or more methods than there are colours.
    """
    places = {(c.dataset, c.split, c.against) for c in comparisons}
    if len(places) != 1:
        listed = ", ".join(" ".join(place[:2]) for place in sorted(places))
        raise ValueError(f"a plot of differences shows one data set and split, got {listed}")
    styles = [(color, marker) for marker in _MARKERS for color in COLORS]
    if len(comparisons) > len(styles):
        raise ValueError(
            f"a plot shows at most {len(styles)} differences, got {len(comparisons)}; name fewer"
        )
    spaces = [s for s in comparisons[0].groups if all(s in c.groups for c in comparisons)]

    from matplotlib.figure import Figure  # draws without a display and without global state

    names = [name for name, _ in _rows(comparisons[0], spaces[0], classes)]
    height = 1.6 + len(names) * max(0.3, 0.14 * len(comparisons))
    figure = Figure(figsize=(3 + 3 * len(spaces), height), dpi=150, layout="constrained")
    panels = figure.subplots(1, len(spaces), sharex=True, sharey=True)
    for axes, space in zip(panels, spaces, strict=True):
        axes.axvline(0, color="0.4", linewidth=0.8)
        for i, comparison in enumerate(comparisons):
            offset = _BAND * ((i + 0.5) / len(comparisons) - 0.5)
            for row, (_, found) in enumerate(_rows(comparison, space, classes)):
                if found is not None:
                    _draw(axes, found, row + offset, *styles[i])
            color, marker = styles[i]
            axes.plot([], [], f"{marker}-", color=color, label=comparison.method)
        axes.set_title(f"{space} scores", fontsize="medium")
        axes.grid(axis="x", alpha=0.25, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    ((dataset, split, against),) = places
    figure.supxlabel(f"difference to {against} in points of average precision", fontsize="medium")
    several = any(len(comparison.seeds) > 1 for comparison in comparisons)
    over = "over seeds and images (thick: over seeds alone)" if several else "over images"
    figure.suptitle(f"{dataset}, {split} split, 95% intervals {over}", fontsize="medium")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    write_figure(path, figure)


def _rows(
    comparison: Comparison, space: str, classes: bool
) -> Iterator[tuple[str, Uncertainty | None]]:
    """Names and differences, from the top."""
    if not classes:
        yield from comparison.groups[space].items()
        return
    pairs = list(zip(comparison.rows, comparison.classes[space], strict=True))
    pairs.sort(key=lambda pair: -(pair[0]["train_count"] or 0))
    for row, found in pairs:
        yield row["name"], found


def _draw(axes: object, found: Uncertainty, y: float, color: str, marker: str) -> None:
    """One difference on matplotlib's axes."""
    wide = found.widest
    axes.plot([wide.low, wide.high], [y, y], color=color, linewidth=1.2)
    if found.seeds:
        axes.plot([found.seeds.low, found.seeds.high], [y, y], color=color, linewidth=4, alpha=0.6)
    axes.plot([found.mean], [y], marker, color=color, markersize=4)
