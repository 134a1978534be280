"""Asymmetric loss (Ridnik et al., "Asymmetric Loss For Multi-Label Classification", ICCV 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from common.config.config_rules import Choice, Number
from losses._common import (
    ENTRY_REDUCTIONS,
    answer_logits,
    factors_of,
    prepare,
    reduce_entries,
)
from losses.registry import register_loss


@register_loss(
    "asl",
    options={
        "GAMMA_NEG": Number(least=0),
        "GAMMA_POS": Number(least=0),
        "CLIP": Number(least=0, below=1),
        "EPS": Number(above=0, below=1),
        "REDUCTION": Choice([word for word in ENTRY_REDUCTIONS if word != "none"]),
    },
)
def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    gamma_neg: float = 4.0,
    gamma_pos: float = 0.0,
    clip: float = 0.05,
    eps: float = 1e-8,
    detach_focal: bool = True,
    reduction: str = "mean",
) -> Tensor:
    """Return -(1-p)^gamma_pos log p where present and -p_m^gamma_neg log(1-p_m) where absent.

    p = sigmoid(logits) and p_m = max(p - clip, 0), so an absent class that scores below `clip`
    costs nothing.

    A pair of positive and negative logits (DualCoOp) needs no function of its own: the softmax
    over (z-, z+) gives p = sigmoid(z+ - z-), so pass `z+ - z-` as logits, with
    `gamma_pos=1, gamma_neg=2, eps=1e-6` for its published setting.

    Args:
        logits: [B, C] scores before the sigmoid.
        targets: [B, C] of 1, 0 or -1 (unknown, left out).
        gamma_neg: focusing exponent of absent entries.
        gamma_pos: focusing exponent of present entries.
        clip: probability margin of absent entries, in [0, 1).
        eps: floor of every probability inside the logarithm; below it the gradient is 0.
        detach_focal: keep the focusing factors out of the gradient, as LMPT and DualCoOp do;
            False differentiates them too, as the paper's formula does.
        reduction: `mean` over known entries (LMPT), `sum` (the paper's release),
            `per_image` (sum over classes, mean over images) or `none`.

    Returns:
        A scalar, or [B, C] for `none`; float32, or float64 for float64 logits.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a shape mismatch, an unknown target value or reduction, or `clip` or
            `eps` out of range.
    """
    if not 0.0 <= clip < 1.0:
        raise ValueError(f"clip must be in [0, 1), got {clip}.")
    if eps <= 0.0:
        raise ValueError(f"eps must be positive, got {eps}: it keeps the logarithm finite.")
    logits, present, known = prepare(logits, targets)
    # 1 - p is sigmoid(-z): the subtraction would round to 0 from z = 17 on.
    margins = factors_of(present, 0.0, clip, logits)
    confidence = (torch.sigmoid(answer_logits(logits, present)) + margins).clamp(max=1.0)
    # The floor keeps the slope of the power finite for exponents below 1.
    mistake = (1.0 - confidence).clamp(min=eps)
    if detach_focal:
        mistake = mistake.detach()
    focus = torch.where(present, mistake.pow(gamma_pos), mistake.pow(gamma_neg))
    return reduce_entries(-focus * confidence.clamp(min=eps).log(), known, reduction)
