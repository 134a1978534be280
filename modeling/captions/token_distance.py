"""Distances between captions and prompts in CLIP's embedding spaces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


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
        reduce: `mean` over the valid positions of a caption, or `sum`.

    Returns:
        [B, C]; float32, or float64 for float64 contexts, also under autocast. A caption without a
        valid position has distance 0.

    Raises:
        ValueError: on a shape mismatch or an unknown `reduce`.
    """
    if reduce not in ("mean", "sum"):
        raise ValueError(f"reduce must be mean or sum, got {reduce!r}.")
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
    if mask is not None and mask.shape != caption_embeddings.shape[:2]:
        raise ValueError(
            f"mask must be [B, P] = {list(caption_embeddings.shape[:2])}, got {list(mask.shape)}."
        )
    captions = caption_embeddings.to(_at_least_float32(contexts).dtype)
    if mask is None:
        valid = captions.shape[1]
        distance = valid - _cosine_sum(captions, contexts)  # [B, C]
        return distance if reduce == "sum" or valid <= 1 else distance / valid
    captions = captions.masked_fill(~mask.bool()[..., None], 0.0)
    valid = mask.bool().sum(dim=1, keepdim=True)  # [B, 1]
    distance = valid - _cosine_sum(captions, contexts)
    return distance if reduce == "sum" else distance / valid.clamp(min=1)


def _cosine_sum(captions: Tensor, contexts: Tensor) -> Tensor:
    # Autocast would run the product in 16 bit and lose the differences between captions.
    with torch.autocast(captions.device.type, enabled=False):
        left = F.normalize(captions, dim=-1).flatten(1)  # [B, P * E]
        right = F.normalize(_at_least_float32(contexts), dim=-1).flatten(1)  # [C, P * E]
        return left @ right.T  # [B, C]


def pooled_distance(captions: Tensor, contexts: Tensor) -> Tensor:
    """Return Delta[b, c] = 1 - cos(caption b, context c) for single vectors per caption and class.

    Args:
        captions: [B, E] pooled caption embeddings or text features.
        contexts: [C, E] pooled contexts or text features.

    Returns:
        [B, C], as `aligned_distance` with one position.

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

    `aligned_distance(captions[:, trainable], contexts[:, trainable], reduce="sum") + table[rows]`

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


def _at_least_float32(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()
