"""CLIP's own loss: which caption belongs to which image (Radford et al., ICML 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from losses._common import masked_mean, to_compute_dtype


def contrastive_loss(similarities: Tensor, paired: Tensor | None = None) -> Tensor:
    """Return the cross-entropy of images finding their captions, and captions their images.

    The mean of both directions. All other pairs of the batch are negatives, equal captions too.

    Args:
        similarities: [B, B] logits, images by captions; pair b is on the diagonal.
        paired: [B] whether image b has a caption; the others are in no pair. None: all have.

    Returns:
        A scalar, 0 where no image has a caption; float32, or float64 for float64 logits.

    Raises:
        ValueError: the similarities are not square, or `paired` does not fit.
    """
    if similarities.dim() != 2 or similarities.shape[0] != similarities.shape[1]:
        raise ValueError(
            f"similarities must be [B, B], images by captions, got {list(similarities.shape)}."
        )
    if paired is None:
        paired = torch.ones(len(similarities), dtype=torch.bool, device=similarities.device)
    elif paired.shape != similarities.shape[:1]:
        raise ValueError(
            f"paired must hold one answer for each of {len(similarities)} images, got "
            f"{list(paired.shape)}."
        )
    scores = to_compute_dtype(similarities)
    # Finite, not -inf: a row in no pair would turn into NaN.
    scores = scores.masked_fill(~(paired[:, None] & paired), -1e9)
    directions = (scores.log_softmax(dim=dim).diagonal() for dim in (0, 1))
    return masked_mean(-sum(directions) / 2, paired)
