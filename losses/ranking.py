"""Pairwise ranking loss of TaI-DPT (Guo et al., "Texts as Images in Prompt Tuning", CVPR 2023)."""

from __future__ import annotations

from torch import Tensor

from common.choices import check_choice
from common.config.config_rules import Number
from losses._common import REDUCTIONS, prepare
from losses.registry import register_loss


@register_loss("ranking", options={"MARGIN": Number(least=0)})
def ranking_loss(
    logits: Tensor, targets: Tensor, margin: float = 1.0, reduction: str = "mean"
) -> Tensor:
    """Return the sum over present i and absent j of max(0, margin - z_i + z_j), per image.

    The sum is not divided by the number of pairs. It depends on differences only, so an offset
    common to all logits of an image changes nothing.

    Args:
        logits: [B, C] scores; one buffer of B x C x C values is allocated.
        targets: [B, C] of 1, 0 or -1 (unknown, in no pair).
        margin: distance a present class should keep above an absent one, in units of the logits.
        reduction: `mean` over the images that have a known entry, `sum` over images, or
            `none` ([B], one value per image).

    Returns:
        A scalar, or [B] for `none`; float32, or float64 for float64 logits.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a shape mismatch, an unknown target value or an unknown reduction.
    """
    check_choice("reduction", reduction, REDUCTIONS)
    logits, present, known = prepare(logits, targets)
    absent = known & ~present
    # -inf on either side of the sum silences a pair without a [B, C, C] mask.
    shortfall = (margin - logits).masked_fill(~present, -float("inf"))
    rival = logits.masked_fill(~absent, -float("inf"))
    pairs = shortfall[:, :, None] + rival[:, None, :]  # [B, C, C]
    per_image = pairs.relu_().sum(dim=(1, 2))  # [B]
    if reduction == "none":
        return per_image
    if reduction == "sum":
        return per_image.sum()
    return per_image.sum() / known.any(dim=1).sum().clamp(min=1)
