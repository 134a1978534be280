"""Softmax cross-entropy over the classes: CoOp's own loss, for one label an image."""

from __future__ import annotations

from torch import Tensor

from common.choices import check_choice
from losses._common import REDUCTIONS, prepare
from losses.registry import register_loss


@register_loss("softmax_ce")
def softmax_cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Return -log softmax(z) of the present class; of several present classes, their mean.

    Classes compete for an image, so several labels can never all reach probability 1.

    Args:
        logits: [B, C] scores.
        targets: [B, C] of 1, 0 or -1 (unknown, out of the competition).
        reduction: `mean` over the images with a present class, `sum` over images, or `none`
            ([B], 0 for an image without one).

    Returns:
        A scalar, or [B] for `none`; float32, or float64 for float64 logits.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a shape mismatch, an unknown target value or an unknown reduction.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    logits, present, known = prepare(logits, targets)
    # Finite, not -inf: a row without any known class would turn into NaN.
    log_probabilities = logits.masked_fill(~known, -1e9).log_softmax(dim=1)
    count = present.sum(dim=1)  # [B]
    per_image = -log_probabilities.masked_fill(~present, 0.0).sum(dim=1) / count.clamp(min=1)  # [B]
    if reduction == "none":
        return per_image
    if reduction == "sum":
        return per_image.sum()
    return per_image.sum() / (count > 0).sum().clamp(min=1)
