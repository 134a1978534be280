"""Class-specific embedding loss of LMPT (Xia et al., ALVR 2024, arXiv 2305.04536).

It pulls the prompt contexts of the classes in an image towards the embedding of the image's
caption and pushes those of the other classes away, up to a margin that grows for rare classes.
``Delta`` [B, C] is the distance between caption b and context c, one minus a cosine.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from losses._common import (
    Counts,
    check_choice,
    masked_mean,
    prepare,
    to_compute_dtype,
)

COUNT_MODES = ("raw", "softmax_freq", "softmax_negfreq")
SIGNS = ("hinge", "inverted")


def aligned_distance(
    caption_embeddings: Tensor, contexts: Tensor, mask: Tensor | None = None, reduce: str = "mean"
) -> Tensor:
    """Return Delta[b, c] = reduce over positions p of 1 - cos(caption[b, p], context[c, p]).

    A sum of cosines is one matrix product of unit vectors over (position, width) together, so no
    [B, C, P, E] tensor is made: at B = 64, C = 80, P = 75, E = 512 that tensor alone is 786 MB,
    while the largest one here has 12 MB (the [80, 75, 512] contexts).

    Args:
        caption_embeddings: [B, P, E] token embeddings of the captions.
        contexts: [C, P, E] prompt vectors; position p meets position p of the caption.
        mask: [B, P] boolean, True where the caption has a token that counts; all by default.
        reduce: ``mean`` over the valid positions of a caption, or ``sum``.

    Returns:
        [B, C]; float32, or float64 for float64 contexts, also under autocast. A caption without a
        valid position has distance 0.

    Raises:
        ValueError: on a shape mismatch or an unknown ``reduce``.
    """
    check_choice("reduce", reduce, ("mean", "sum"))
    if caption_embeddings.ndim != 3 or contexts.ndim != 3:
        raise ValueError(
            "caption_embeddings must be [B, P, E] and contexts [C, P, E], got "
            f"{list(caption_embeddings.shape)} and {list(contexts.shape)}."
        )
    if caption_embeddings.shape[1:] != contexts.shape[1:]:
        raise ValueError(
            "caption_embeddings and contexts must agree in positions and width, got "
            f"{list(caption_embeddings.shape)} and {list(contexts.shape)}: cut both to the same "
            "positions."
        )
    if mask is None:
        mask = caption_embeddings.new_ones(caption_embeddings.shape[:2], dtype=torch.bool)
    elif mask.shape != caption_embeddings.shape[:2]:
        raise ValueError(
            f"mask must be [B, P] = {list(caption_embeddings.shape[:2])}, got {list(mask.shape)}."
        )
    captions = caption_embeddings.to(to_compute_dtype(contexts).dtype)
    captions = captions.masked_fill(~mask.bool()[..., None], 0.0)
    valid = mask.bool().sum(dim=1, keepdim=True).to(captions.dtype)  # [B, 1]
    similarity = _cosine_sum(captions, contexts)
    if reduce == "sum":
        return valid - similarity
    return (valid - similarity) / valid.clamp(min=1.0)


def _cosine_sum(captions: Tensor, contexts: Tensor) -> Tensor:
    # Autocast would run the product in 16 bit and lose the differences between captions.
    with torch.autocast(captions.device.type, enabled=False):
        left = F.normalize(captions, dim=-1).flatten(1)  # [B, P * E]
        right = F.normalize(to_compute_dtype(contexts), dim=-1).flatten(1)  # [C, P * E]
        return left @ right.T  # [B, C]


def pooled_distance(captions: Tensor, contexts: Tensor) -> Tensor:
    """Return Delta[b, c] = 1 - cos(caption b, context c) for single vectors per caption and class.

    Args:
        captions: [B, E] pooled caption embeddings or text features.
        contexts: [C, E] pooled contexts or text features.

    Returns:
        [B, C], as ``aligned_distance`` with one position.

    Raises:
        ValueError: if the inputs are not two-dimensional or differ in width.
    """
    if captions.ndim != 2 or contexts.ndim != 2:
        raise ValueError(
            "captions must be [B, E] and contexts [C, E], got "
            f"{list(captions.shape)} and {list(contexts.shape)}."
        )
    return aligned_distance(captions[:, None], contexts[:, None])


@torch.no_grad()
def constant_distance(
    caption_embeddings: Tensor,
    contexts: Tensor,
    trainable: Tensor,
    mask: Tensor | None = None,
    chunk_size: int = 256,
) -> Tensor:
    """Return the part of the summed distance that training cannot change, as a table [N, C].

    Class names, full stop, end of text and padding never train, so what they add to the distance
    is known once captions and classes are. Compute the table once, and at each step

    ``aligned_distance(captions[:, trainable], contexts[:, trainable], reduce="sum") + table[rows]``

    equals the sum over all positions; divide by the number of valid positions for the mean. With
    15 trainable positions of 75 a step touches a fifth of the embeddings.

    Args:
        caption_embeddings: [N, P, E] of the whole data set (or a part: rows are independent).
        contexts: [C, P, E] whole prompts; the values at trainable positions do not matter.
        trainable: [P] boolean, True where the prompt is a parameter.
        mask: [N, P] boolean, True where the caption has a token that counts.
        chunk_size: captions per matrix product, a bound on memory.

    Raises:
        ValueError: on a shape mismatch.
    """
    if trainable.shape != contexts.shape[1:2]:
        raise ValueError(
            f"trainable must be [P] = {list(contexts.shape[1:2])}, got {list(trainable.shape)}."
        )
    frozen = ~trainable.bool()
    fixed = contexts[:, frozen]
    rows = [
        aligned_distance(
            caption_embeddings[start : start + chunk_size, frozen],
            fixed,
            None if mask is None else mask[start : start + chunk_size, frozen],
            reduce="sum",
        )
        for start in range(0, len(caption_embeddings), chunk_size)
    ]
    return torch.cat(rows)  # [N, C]


def effective_counts(class_counts: Counts, mode: str = "raw", eps: float = 1e-6) -> Tensor:
    """Return the counts [C] from which margins and weights are made.

    ``raw`` is n itself, at least 1. The released code instead took a softmax of n
    (``softmax_freq``) and, in its first version, of N - n (``softmax_negfreq``, the same as a
    softmax of -n). Both underflow to exact zeros, whose negative powers are infinite; ``eps``
    replaces them.

    Args:
        class_counts: [C] training images per class.
        mode: ``raw``, ``softmax_freq`` or ``softmax_negfreq``.
        eps: smallest value of the softmax modes.

    Raises:
        ValueError: on an unknown mode or a non-positive ``eps``.
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
        class_counts: [C] positive counts, see ``effective_counts``.
        scale: margin of a class with one image.
        power: 1/4 after LDAM (Cao et al., NeurIPS 2019).
    """
    return scale * to_compute_dtype(torch.as_tensor(class_counts)).pow(-power)


def class_weights(class_counts: Counts, gamma: float = 1.0) -> Tensor:
    """Return the weights omega_c = n_c^(-gamma) / sum_j n_j^(-gamma) [C], which sum to 1.

    Args:
        class_counts: [C] positive counts, see ``effective_counts``.
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

    - ``hinge``: Delta where present, max(0, mu_c - Delta) where absent (hinge embedding).
    - ``inverted``: max(0, mu_c - Delta) where present, max(0, mu_c + Delta) where absent. This is
      what the released code computes: it pulls *absent* classes to the caption, and its present
      classes have no gradient once Delta exceeds the margin.

    Args:
        distance: [B, C], see ``aligned_distance``.
        targets: [B, C] of 1, 0 or -1 (unknown, left out).
        margins: [C], see ``class_margins``.
        weights: [C], see ``class_weights``.
        sign: ``hinge`` or ``inverted``.
        reduction: ``weighted_sum`` sums over classes and averages over the images that have a
            known entry; ``mean`` averages the weighted entries over all known ones, which is C
            times smaller.

    Returns:
        A scalar; 0 with zero gradient where nothing is known.

    Raises:
        TypeError: if ``distance`` is not floating point.
        ValueError: on a shape mismatch, or an unknown sign, reduction or target value.
    """
    check_choice("sign", sign, SIGNS)
    check_choice("reduction", reduction, ("weighted_sum", "mean"))
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
        entries = F.relu(margins - torch.where(present, distance, -distance))
    entries = weights * entries
    if reduction == "mean":
        return masked_mean(entries, known)
    per_image = entries.masked_fill(~known, 0.0).sum(dim=1)  # [B]
    return per_image.sum() / known.any(dim=1).sum().clamp(min=1)
