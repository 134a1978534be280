"""Figures of zero-shot work, in which training sees the labels of some classes alone.

Two protocols: generalised (all classes compete, on all images) and zero-shot proper (the unseen
classes alone, on the images that show one of them).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from evaluation.metrics.output_link import Link
from evaluation.metrics.scored_images import ScoredImages
from evaluation.metrics.top_k import top_k_metrics

__all__ = ["unseen_metrics"]


def unseen_metrics(
    scored: ScoredImages,
    precisions: Tensor,
    seen: Sequence[bool],
    space: str,
    top_k: Sequence[int] = (),
    link: Link | None = None,
) -> dict[str, float]:
    """Return mAP_seen and mAP_unseen among all classes, and mAP_zsl of the unseen by themselves.

    A class without positives is left out; a figure of which no class is left is not returned.

    Args:
        scored: logits and targets of the images; unknown entries are ignored.
        precisions: average precision of each class among all of them [C], NaN where undefined.
        seen: of each class, whether training saw its labels.
        space: that ranks the images, as TEST.SCORE; a softmax is over the classes that compete.
        top_k: numbers of classes for `top_k_metrics` of the unseen, as in OF1_top3_zsl; larger ones
            than there are unseen classes are left out.
        link: of the space softmax_link.

    Returns:
        Percent, by name.
    """
    is_seen = torch.tensor(seen, device=precisions.device)  # [C]
    shows_unseen = [(targets[:, ~is_seen] == 1).any(dim=1) for _, targets in scored.rows()]
    own = scored.select(torch.cat(shows_unseen), ~is_seen)
    parts = {"mAP_seen": precisions[is_seen], "mAP_unseen": precisions[~is_seen]}
    if len(own):
        parts["mAP_zsl"] = own.average_precision(space, link)
    metrics = {
        name: 100 * values.nanmean().item()
        for name, values in parts.items()
        if not values.isnan().all()
    }
    for k in top_k if len(own) else ():
        if k <= own.num_classes:
            metrics |= top_k_metrics(own, k, suffix="_zsl")
    return metrics
