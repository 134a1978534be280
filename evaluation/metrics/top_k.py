"""Precision, recall and F1 of the k highest classes of each image, whatever their probability."""

from __future__ import annotations

import torch
from torch import Tensor

from evaluation.metrics.threshold_metrics import threshold_metrics

__all__ = ["top_k_metrics"]

_KEPT = ("CP", "CR", "CF1", "OP", "OR", "OF1")


def top_k_metrics(logits: Tensor, targets: Tensor, k: int, suffix: str = "") -> dict[str, float]:
    """Return CP to OF1 where each image is predicted its k highest classes.

    OP, OR and OF1 are the precision, recall and F1 "at k" of zero-shot work, CF1 and OF1 at 3 the
    "top-3" figures of multi-label recognition.

    Args:
        logits: [N, C].
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).
        k: in 1..C.
        suffix: put behind the names.

    Returns:
        Percent, by names such as OF1_top3.

    Raises:
        ValueError: there are fewer than k classes.
    """
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"TEST.TOP_K has {k}, expected at most the {logits.shape[1]} classes.")
    highest = logits.topk(k, dim=1).indices  # [N, k]
    predicted = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, highest, True)
    metrics = threshold_metrics(predicted, targets)
    return {f"{name}_top{k}{suffix}": 100 * metrics[name] for name in _KEPT}
