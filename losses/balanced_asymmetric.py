"""Balanced asymmetric loss of LM-CLIP: an asymmetric loss that weighs rare classes up."""

from __future__ import annotations

import torch
from torch import Tensor

from common.config.config_rules import Choice, Number
from losses._common import (
    ENTRY_REDUCTIONS,
    Counts,
    as_counts,
    factors_of,
    prepare,
    reduce_entries,
)
from losses.registry import register_loss


@register_loss(
    "balanced_asl",
    options={
        "POWER": Number(least=0),
        "SMOOTHING": Number(least=0, below=1),
        "GAMMA_NEG": Number(least=0),
        "GAMMA_POS": Number(least=0),
        "CLIP": Number(least=0, below=1),
        "EPS": Number(above=0, below=1),
        "REDUCTION": Choice([word for word in ENTRY_REDUCTIONS if word != "none"]),
    },
)
def balanced_asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    power: float = 1.0,
    smoothing: float = 0.1,
    gamma_neg: float = 9.8,
    gamma_pos: float = 0.0,
    clip: float = 0.05,
    eps: float = 1e-8,
    reduction: str = "mean",
) -> Tensor:
    """Return -(1 - p y' - q (1-y))^gamma (y' (1 + w_c) log p + (1-y) log q).

    x = z / max z, the largest logit of the batch; p = sigmoid(x) and q = min(1 - p + clip, 1);
    y' = (1 - smoothing) y + smoothing / C; w_c = (N / n_c)^power over its largest value, with n_c
    images of class c; gamma = gamma_pos y' + gamma_neg (1-y). Gradients flow through all of it, the
    focusing factor and the largest logit too.

    It is made for the raw logits of CLIP, which are positive for every class. Where the largest
    logit of a batch is below 1, as with COSINE_OFFSET, it divides by 1: a small number would blow
    the logits up, and a negative one would turn their order around.

    Args:
        logits: [B, C] scores before the sigmoid.
        targets: [B, C] of 1, 0 or -1 (unknown, left out).
        class_counts: [C] training images per class.
        power: of the classes' weights; 0 weighs all classes alike.
        smoothing: share of the targets that is spread over all classes, in [0, 1).
        gamma_neg: focusing exponent of absent entries.
        gamma_pos: focusing exponent of present entries.
        clip: probability margin of absent entries, in [0, 1).
        eps: floor of probabilities inside the logarithm, and of what the exponents apply to.
        reduction: `mean` over known entries, `per_image`, `sum` or `none`.

    Returns:
        A scalar, or [B, C] for `none`; float32, or float64 for float64 logits.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a shape mismatch, an unknown target value or an unknown reduction.
    """
    logits, present, known = prepare(logits, targets)
    counts = as_counts(class_counts, logits)
    weights = 1.0 + (counts.min() / counts) ** power  # [C]; N cancels
    # The 1 is the least divisor, and lets a batch be empty.
    candidates = logits.masked_fill(~known, 1.0).flatten()
    scaled = logits / torch.cat([candidates, logits.new_ones(1)]).max()
    p = torch.sigmoid(scaled)
    q = (torch.sigmoid(-scaled) + clip).clamp(max=1.0)
    spread = smoothing / logits.shape[1]
    smooth = factors_of(present, 1.0 - smoothing + spread, spread, logits)  # y' [B, C]
    absent = factors_of(present, 0.0, 1.0, logits)
    likelihood = smooth * weights * p.clamp(min=eps).log() + absent * q.clamp(min=eps).log()
    mistake = (1.0 - p * smooth - q * absent).clamp(min=eps)  # q may be 1, p then above 0
    focus = mistake ** (gamma_pos * smooth + gamma_neg * absent)
    return reduce_entries(-focus * likelihood, known, reduction)
