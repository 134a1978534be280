"""Class-specific embedding loss of LMPT (Xia et al., ALVR 2024, arXiv 2305.04536).

It pulls the prompt contexts of the classes in an image towards the embedding of the image's
caption and pushes those of the other classes away, up to a margin that grows for rare classes.
`Delta` [B, C] is the distance between caption b and context c, one minus a cosine, see
`modeling.captions.token_distance`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from common.choices import check_choice
from losses._common import (
    Counts,
    answer_logits,
    masked_mean,
    prepare,
    to_compute_dtype,
)

COUNT_MODES = ("raw", "softmax_freq", "softmax_negfreq")
SIGNS = ("hinge", "inverted")
EMBEDDING_REDUCTIONS = ("weighted_sum", "mean")


def effective_counts(class_counts: Counts, mode: str = "raw", eps: float = 1e-6) -> Tensor:
    """Return the counts [C] from which margins and weights are made.

    `raw` is n itself, at least 1. The released code instead took a softmax of n
    (`softmax_freq`) and, in its first version, of N - n (`softmax_negfreq`, the same as a
    softmax of -n). Both underflow to exact zeros, whose negative powers are infinite; `eps`
    replaces them.

    Args:
        class_counts: [C] training images per class.
        mode: `raw`, `softmax_freq` or `softmax_negfreq`.
        eps: smallest value of the softmax modes.

    Raises:
        ValueError: on an unknown mode or a non-positive `eps`.
    """
    check_choice("mode", mode, COUNT_MODES)
    if eps <= 0.0:
        raise ValueError(f"eps must be positive, got {eps}.")
    counts = to_compute_dtype(torch.as_tensor(class_counts))
    if mode == "raw":
        return counts.clamp(min=1.0)
    return (counts if mode == "softmax_freq" else -counts).softmax(dim=0).clamp(min=eps)


def class_margins(class_counts: Counts, scale: float = 1.0, power: float = 0.25) -> Tensor:
    """Return the margins mu_c = scale * n_c^(-power) [C]: larger for rarer classes.

    Args:
        class_counts: [C] positive counts, see `effective_counts`.
        scale: margin of a class with one image.
        power: 1/4 after LDAM (Cao et al., NeurIPS 2019).
    """
    return scale * to_compute_dtype(torch.as_tensor(class_counts)).pow(-power)


def class_weights(class_counts: Counts, gamma: float = 1.0) -> Tensor:
    """Return the weights omega_c = n_c^(-gamma) / sum_j n_j^(-gamma) [C], which sum to 1.

    Args:
        class_counts: [C] positive counts, see `effective_counts`.
        gamma: 0 weights all classes equally.
    """
    # A softmax of logarithms: powers of small counts would overflow before the division.
    counts = to_compute_dtype(torch.as_tensor(class_counts))
    return (-gamma * counts.log()).softmax(dim=0)


def class_specific_embedding_loss(
    distance: Tensor,
    targets: Tensor,
    margins: Tensor,
    weights: Tensor,
    sign: str = "hinge",
    reduction: str = "weighted_sum",
) -> Tensor:
    """Return the class-specific embedding loss.

    - `hinge`: Delta where present, max(0, mu_c - Delta) where absent (hinge embedding).
    - `inverted`: max(0, mu_c - Delta) where present, max(0, mu_c + Delta) where absent. This is
      what the released code computes: it pulls *absent* classes to the caption, and its present
      classes have no gradient once Delta exceeds the margin.

    Args:
        distance: [B, C], see `modeling.captions.token_distance.aligned_distance`.
        targets: [B, C] of 1, 0 or -1 (unknown, left out).
        margins: [C], see `class_margins`.
        weights: [C], see `class_weights`.
        sign: `hinge` or `inverted`.
        reduction: `weighted_sum` sums over classes and averages over the images that have a
            known entry; `mean` averages the weighted entries over all known ones, which is C
            times smaller.

    Returns:
        A scalar; 0 with zero gradient where nothing is known.

    Raises:
        TypeError: if `distance` is not floating point.
        ValueError: on a shape mismatch, or an unknown sign, reduction or target value.
    """
    check_choice("sign", sign, SIGNS)
    check_choice("reduction", reduction, EMBEDDING_REDUCTIONS)
    distance, present, known = prepare(distance, targets)
    num_classes = distance.shape[1:]
    if margins.shape != num_classes or weights.shape != num_classes:
        raise ValueError(
            f"margins and weights must be [C] = {list(num_classes)}, got {list(margins.shape)} "
            f"and {list(weights.shape)}."
        )
    if sign == "hinge":
        entries = torch.where(present, distance, F.relu(margins - distance))
    else:
        entries = F.relu(margins - answer_logits(distance, present))
    entries = weights * entries
    if reduction == "mean":
        return masked_mean(entries, known)
    per_image = entries.masked_fill(~known, 0.0).sum(dim=1)  # [B]
    return per_image.sum() / known.any(dim=1).sum().clamp(min=1)
