"""A report's figures; matplotlib is imported only when drawing.

Colours are those of Okabe and Ito, which colour-blind people tell apart; methods differ in their
dashes and markers, too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.files import write_whole
from evaluation.tables.plots import MARKERS
from reporting.confusion import Confusion
from reporting.curves import Curve, precision_recall
from reporting.methods import Method, threshold_in

# Okabe and Ito without their yellow, which is pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))  # 5, 7 and 12: no two methods alike
BINS = 24
_NUMBERS_UP_TO = 20  # classes, in whose matrix the cells have room for numbers
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "report", "axes.axisbelow": True}


def check_matplotlib() -> None:
    """Raise ImportError, with what to do, unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "A report's figures are drawn with matplotlib: pip install matplotlib"
        ) from error


def draw_precision_recall(path: Path, methods: Sequence[Method], column: int) -> None:
    """Draw the precision-recall curves of a class, one for each method with scores."""
    with _axes(path, (3.4, 3.0)) as axes:
        for i, method in enumerate(methods):
            if method.ranking is None:
                continue
            ranking = method.ranking
            recall, precision = precision_recall(
                ranking.scores[:, column], ranking.targets[:, column]
            )
            # A step's precision holds back to the recall before it, as in average precision.
            axes.step(
                np.append(0, recall),
                np.append(precision[:1], precision),
                where="pre",
                markevery=max(len(recall) // 6, 1),
                **_line(i),
                label=_label(method.label),
            )
        axes.set(xlim=(0, 1.02), ylim=(0, 1.03), xlabel="recall", ylabel="precision")
        _legend(axes)


def draw_histograms(path: Path, methods: Sequence[Method], column: int | None) -> None:
    """Draw how scores of images with and without a class spread, a panel for each method.

    Args:
        path: SVG to write.
        methods: at least one with scores.
        column: the class; None takes all classes together.
    """
    scored = [method for method in methods if method.ranking is not None]
    with _axes(path, (3.4, 0.5 + 1.15 * len(scored)), rows=len(scored)) as panels:
        for axes, method in zip(np.atleast_1d(panels), scored, strict=True):
            ranking, run = method.ranking, method.runs[0]
            columns = slice(None) if column is None else column
            scores, targets = ranking.scores[:, columns], ranking.targets[:, columns]
            draw_histogram(axes, scores[targets == 1], scores[targets == 0])
            threshold = threshold_in(run["score"], run.get("threshold"))
            low, high = axes.get_xlim()
            if threshold is not None and low < threshold < high:
                axes.axvline(threshold, color="0.3", linestyle=":", label="threshold")
            axes.set_title(_label(method.label), fontsize=8, loc="left", parse_math=False)
            axes.set_yticks([])
        softmax = scored[0].runs[0]["score"] == "softmax"
        axes.set_xlabel("log-probability" if softmax else "logit")
        _legend(axes)


def draw_histogram(axes: Any, positive: Tensor, negative: Tensor) -> None:  # noqa: ANN401
    """Draw shares of positives (outline) and of negatives (hatched) by score."""
    both = torch.cat([positive, negative]).numpy()
    edges = np.histogram_bin_edges(both, BINS)
    for values, name, style in (
        (negative, "absent", {"facecolor": "#F3C98B", "edgecolor": "#8A5A00", "hatch": "////"}),
        (positive, "present", {"facecolor": "none", "edgecolor": COLOURS[0], "linewidth": 1.8}),
    ):
        if len(values):
            shares = np.histogram(values.numpy(), edges)[0] / len(values)
            axes.stairs(shares, edges, fill=True, label=name, **({"linewidth": 0.6} | style))


def draw_confusion(path: Path, found: Confusion, names: Sequence[str]) -> None:
    """Draw the matrix of `confusion`: present classes down, absent ones across; a PNG."""
    size = len(names)
    side = 2.6 + max(0.14 * size, 3.0)
    level = 100 * found.level.clone().fill_diagonal_(float("nan")).numpy()
    font = 8 if size <= _NUMBERS_UP_TO else 7
    with _axes(path, (side, side - 0.4)) as axes:
        image = axes.imshow(level, cmap="PuOr_r", vmin=20, vmax=80)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(range(size))
        axes.set_xticklabels(names, rotation=90, fontsize=font, parse_math=False)
        axes.set_yticklabels(names, fontsize=font, parse_math=False)
        axes.set(xlabel="absent class, whose score is looked at", ylabel="present class")
        if size <= _NUMBERS_UP_TO:
            for (a, b), value in np.ndenumerate(level):
                if not np.isnan(value):
                    colour = "white" if abs(value - 50) > 21 else "black"
                    axes.text(
                        b, a, f"{value:.0f}", ha="center", va="center", fontsize=6, color=colour
                    )
        bar = axes.figure.colorbar(image, ax=axes, shrink=0.6, pad=0.02, extend="both")
        bar.ax.tick_params(labelsize=7)
        bar.set_label("level of the absent class's score (%); 50: no confusion", fontsize=8)


def learning_names(curves: Sequence[Sequence[Mapping[str, Curve]]]) -> list[str]:
    """Names of scalars that are curves, of more than one point: losses first, then metrics."""
    found = {
        name
        for runs in curves
        for scalars in runs
        for name, (steps, _) in scalars.items()
        if len(steps) > 1 and (name.startswith("train/") or name.endswith("/mAP"))
    }
    return sorted(found, key=lambda name: (not name.startswith("train/loss"), name))


def draw_learning(
    path: Path, labels: Sequence[str], curves: Sequence[Sequence[Mapping[str, Curve]]], name: str
) -> None:
    """Draw a scalar over the steps of training: a line for each run, a style for each method.

    Args:
        path: SVG to write.
        labels: of the methods.
        curves: of `learning_curves`, for each method and run.
        name: of the scalar.
    """
    with _axes(path, (3.4, 2.6)) as axes:
        for i, (label, runs) in enumerate(zip(labels, curves, strict=True)):
            known = [scalars[name] for scalars in runs if name in scalars]
            for number, (steps, values) in enumerate(known):
                every = max(len(steps) // 6, 1)
                style = _line(i) | {"linewidth": 1.2, "alpha": 0.8, "markevery": every}
                axes.plot(steps, values, **style, label=_label(label) if number == 0 else None)
        axes.set(xlabel="step" if name.startswith("train/") else "epoch")
        axes.set_ylabel(name, parse_math=False)
        _legend(axes)


@contextlib.contextmanager
def drawing() -> Iterator[None]:
    """Draw with text kept as text, and alike every time."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


@contextlib.contextmanager
def _axes(path: Path, size: tuple[float, float], rows: int = 1) -> Iterator[Any]:
    """Axes to draw on, or an array of them, which are written to `path` afterwards."""
    with drawing():
        from matplotlib.figure import Figure  # draws without a display and without global state

        figure = Figure(figsize=size, dpi=150, layout="constrained")
        panels = figure.subplots(rows, 1, sharex=True)
        yield panels
        for axes in np.atleast_1d(panels):
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
            axes.xaxis.label.set_size(8)
            axes.yaxis.label.set_size(8)
        kind = path.suffix.lstrip(".")
        metadata = {"Date": None} if kind == "svg" else None
        write_whole(path, lambda file: figure.savefig(file, format=kind, metadata=metadata))


def _line(place: int) -> dict[str, Any]:
    """Colour, dashes and marker of a method."""
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[place % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 3.5,
        "linewidth": 1.4,
    }


def _label(text: str) -> str:
    """A legend's text as it is: matplotlib hides labels that begin with an underscore."""
    return f" {text}" if text.startswith("_") else text


def _legend(axes: Any) -> None:  # noqa: ANN401 - matplotlib is not imported here
    legend = axes.legend(fontsize=7, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
