"""Region pooling: from similarities of regions to one score per class."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def region_pool(
    similarity: Tensor, guide: Tensor, scale: Tensor | float, mask: Tensor | None = None
) -> Tensor:
    """Average of the regions, weighted by how well they fit: sum_r softmax_r(scale * guide) * sim.

    Each class looks at regions of its own (DualCoOp, Sun et al., NeurIPS 2022, sec. 3.3). Scale 0
    gives the mean over regions, a large scale the similarity where the guide is highest.

    Args:
        similarity: what is averaged [B, R, C].
        guide: what says which regions count [B, R, C]; often the similarity itself.
        scale: sharpness of the weights, as a number or a tensor that broadcasts to [B, R, C].
        mask: [B, R] False where a region takes no part; None where all do. An image whose mask is
            False throughout has no weights to speak of and gets the plain mean.

    Returns:
        [B, C] in float32, or float64 where the inputs are.
    """
    logits = scale * _at_least_float32(guide)  # [B, R, C]
    if mask is not None:
        # The lowest number instead of -inf: no NaN from a mask that is False throughout.
        logits = logits.masked_fill(~mask[..., None], torch.finfo(logits.dtype).min)
    return (logits.softmax(dim=1) * _at_least_float32(similarity)).sum(dim=1)


def soft_minimum(scores: Tensor, softness: float) -> Tensor:
    """What all of K looks agree on: T log K - T log sum_k exp(-score_k / T).

    Equal scores give themselves. It goes from the least of them, T near 0, to their mean.

    Args:
        scores: [B, K, C].
        softness: T, above 0, in units of the scores.

    Returns:
        [B, C].
    """
    return softness * (math.log(scores.shape[1]) - (-scores / softness).logsumexp(dim=1))


def winner_take_all(similarity: Tensor, sharpness: float = 200.0) -> Tensor:
    """Turn down, in each region, the classes that fit it less than the best one (DualCoOp++).

    Class c keeps the share softmax_c(sharpness * max_c(s) * s) of the winner's, which itself keeps
    all of its similarity. A region that nothing fits well hardly decides between classes.

    Args:
        similarity: s, of regions and classes [B, R, C].
        sharpness: of the competition.

    Returns:
        [B, R, C] in float32, or float64 where the input is.
    """
    similarity = _at_least_float32(similarity)
    best = similarity.amax(dim=2, keepdim=True)  # [B, R, 1]
    logits = sharpness * best * similarity  # [B, R, C]
    return similarity * (logits - logits.amax(dim=2, keepdim=True)).exp()


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
