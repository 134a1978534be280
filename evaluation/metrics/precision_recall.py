"""Precision-recall curves at evenly spaced levels of recall, of one class and of many."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["CURVE_ROWS", "counts_by_threshold", "macro_curve", "precision_recall_curve"]

CURVE_ROWS = ("tp", "fp", "tn", "fn", "precision", "recall")


def precision_recall_curve(scores: Tensor, targets: Tensor, levels: int = 101) -> Tensor:
    """Counts, precision and recall of one class, at the highest thresholds that reach each recall.

    Levels of recall resolve the few positives of a rare class. Evenly spaced thresholds, which
    TensorBoard would choose, put almost all of their points where every image is negative.

    Args:
        scores: of N images, [N]; only their order matters.
        targets: [N], 1 present, 0 absent, -1 unknown (left out).
        levels: L points, at recall 0, 1 / (L - 1), ..., 1.

    Returns:
        [6, L] float64, rows as in `CURVE_ROWS`; recall falls from column to column, as it does
        where thresholds rise. NaN for a class without positives.
    """
    tp, predicted = counts_by_threshold(scores, targets)
    total, images = int((targets == 1).sum()), int((targets >= 0).sum())
    if total == 0:
        return torch.full((len(CURVE_ROWS), levels), float("nan"), dtype=torch.float64)
    wanted = torch.arange(levels - 1, -1, -1, device=tp.device, dtype=torch.float64)
    # Whole counts: a level such as 0.3 times 10 positives is not exactly 3 in floating point.
    needed = (wanted * total / (levels - 1) - 1e-9).ceil()
    place = torch.searchsorted(tp, needed)  # the first threshold with so many true positives
    tp, predicted = tp[place], predicted[place]
    fp = predicted - tp
    return torch.stack([tp, fp, images - total - fp, total - tp, tp / predicted, tp / total])


def counts_by_threshold(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """True positives and predicted images at each distinct score of a class, the highest first.

    Args:
        scores: of N images, [N]; only their order matters.
        targets: [N], 1 present, 0 absent, -1 unknown (left out).

    Returns:
        [T] float64 each, of T thresholds.
    """
    scores, positive = scores[targets >= 0], targets[targets >= 0] == 1
    ranked, order = scores.sort(descending=True)
    ends = torch.ones_like(ranked, dtype=torch.bool)
    ends[:-1] = ranked[1:] != ranked[:-1]  # images of one score lie on one side of any threshold
    ends = ends.nonzero().flatten()
    return positive[order].cumsum(0)[ends].double(), (ends + 1).double()


def macro_curve(curves: Tensor) -> Tensor:
    """Mean over classes of their curves [K, 6, L], those without positives left out: [6, L]."""
    return curves.nanmean(dim=0)
