"""Figures of zero-shot work, in which training sees the labels of some classes alone.

Two protocols: generalised (all classes compete, on all images) and zero-shot proper (the unseen
classes alone, on the images that show one of them).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.output_link import Link
from evaluation.metrics.top_k import top_k_metrics
from evaluation.results.saved_scores import rank_scores

__all__ = ["unseen_metrics"]


def unseen_metrics(
    logits: Tensor,
    targets: Tensor,
    seen: Sequence[bool],
    space: str,
    top_k: Sequence[int] = (),
    link: Link | None = None,
) -> dict[str, float]:
    """Return mAP_seen and mAP_unseen among all classes, and mAP_zsl of the unseen by themselves.

    A class without positives is left out; a figure of which no class is left is not returned.

    Args:
        logits: [N, C].
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).
        seen: of each class, whether training saw its labels.
        space: that ranks the images, as TEST.SCORE; a softmax is over the classes that compete.
        top_k: numbers of classes for `top_k_metrics` of the unseen, as in OF1_top3_zsl; larger ones
            than there are unseen classes are left out.
        link: of the space softmax_link.

    Returns:
        Percent, by name.
    """
    is_seen = torch.tensor(seen, device=logits.device)  # [C]
    shows_unseen = (targets[:, ~is_seen] == 1).any(dim=1)  # [N]
    own, own_targets = logits[shows_unseen][:, ~is_seen], targets[shows_unseen][:, ~is_seen]
    scores = rank_scores(logits, space, link)
    parts = {
        "mAP_seen": (scores[:, is_seen], targets[:, is_seen]),
        "mAP_unseen": (scores[:, ~is_seen], targets[:, ~is_seen]),
        "mAP_zsl": (rank_scores(own, space, link), own_targets),
    }
    metrics = {}
    for name, (part, truth) in parts.items():
        if (truth == 1).any():
            metrics[name] = 100 * average_precision(part, truth).nanmean().item()
    for k in top_k if len(own) else ():
        if k <= own.shape[1]:
            metrics |= top_k_metrics(own, own_targets, k, suffix="_zsl")
    return metrics
