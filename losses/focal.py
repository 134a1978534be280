"""Binary cross-entropy and focal loss (Lin et al., "Focal Loss for Dense Object Detection", 2017).

Both are written on the logit of the true answer (z where present, -z where absent), with
p_t = sigmoid(answer), so that neither can overflow.
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.config.config_rules import Number
from losses._common import answer_logits, cross_entropy, prepare, reduce_entries, softplus
from losses.registry import register_loss


@register_loss("bce")
def binary_cross_entropy(logits: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    """Return -log p_t. The mean equals PyTorch's multi-label soft margin loss.

    Args:
        logits: [B, C] scores before the sigmoid.
        targets: [B, C] of 1, 0 or -1 (unknown, left out).
        reduction: `mean` over known entries, `per_image`, `sum` or `none`.

    Returns:
        A scalar, or [B, C] for `none`; float32, or float64 for float64 logits.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a shape mismatch, an unknown target value or an unknown reduction.
    """
    logits, present, known = prepare(logits, targets)
    return reduce_entries(cross_entropy(answer_logits(logits, present)), known, reduction)


def focal_modulation(answers: Tensor, gamma: float) -> Tensor:
    """Return (1 - p_t)^gamma for the logits of the true answers, of any shape.

    The power is taken in log space: a plain `pow` has an infinite slope where p_t rounds to 1
    and gamma is below 1, which turns the gradient into NaN.
    """
    return torch.exp(-gamma * softplus(answers))


@register_loss("focal", options={"ALPHA": Number(least=0, most=1), "GAMMA": Number(least=0)})
def focal_loss(
    logits: Tensor,
    targets: Tensor,
    alpha: float = 0.5,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> Tensor:
    """Return -alpha_t (1 - p_t)^gamma log p_t, the gradient passing through both factors.

    Args:
        logits: [B, C] scores before the sigmoid.
        targets: [B, C] of 1, 0 or -1 (unknown, left out).
        alpha: weight of present entries; absent ones get 1 - alpha.
        gamma: focusing exponent; 0 gives weighted cross-entropy.
        reduction: `mean` over known entries, `per_image`, `sum` or `none`.

    Returns:
        A scalar, or [B, C] for `none`; float32, or float64 for float64 logits.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a shape mismatch, an unknown target value or an unknown reduction.
    """
    logits, present, known = prepare(logits, targets)
    answers = answer_logits(logits, present)
    entries = focal_modulation(answers, gamma) * cross_entropy(answers)
    return reduce_entries(
        torch.where(present, alpha * entries, (1.0 - alpha) * entries), known, reduction
    )
