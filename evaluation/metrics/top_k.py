"""Precision, recall and F1 of the k highest classes of each image, whatever their probability."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.metrics.scored_images import ScoredImages
from evaluation.metrics.threshold_metrics import Decisions

__all__ = ["top_k_metrics"]

_KEPT = ("CP", "CR", "CF1", "OP", "OR", "OF1")


def top_k_metrics(scored: ScoredImages, k: int, suffix: str = "") -> dict[str, float]:
    """Return CP to OF1 where each image is predicted its k highest classes.

    OP, OR and OF1 are the precision, recall and F1 "at k" of zero-shot work, CF1 and OF1 at 3 the
    "top-3" figures of multi-label recognition.

    Args:
        scored: logits and targets; unknown entries are ignored.
        k: in 1..C.
        suffix: put behind the names.

    Returns:
        Percent, by names such as OF1_top3.

    Raises:
        ValueError: there are fewer than k classes.
    """
    if not 1 <= k <= scored.num_classes:
        raise ValueError(f"TEST.TOP_K has {k}, expected at most the {scored.num_classes} classes.")
    decisions = Decisions()
    for logits, targets in scored.rows():
        decisions.count(_highest(logits, k), targets)
    metrics = decisions.metrics()
    return {f"{name}_top{k}{suffix}": 100 * metrics[name] for name in _KEPT}


def _highest(logits: Tensor, k: int) -> Tensor:
    """Truth values [n, C]: whether a class is one of the k highest of its image."""
    places = logits.topk(k, dim=1).indices  # [n, k]
    return torch.zeros_like(logits, dtype=torch.bool).scatter_(1, places, True)
