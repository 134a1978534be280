"""What every loss shares: input checks, the meaning of targets, masking and reduction.

Targets are 1 (present), 0 (absent) or -1 (unknown). Nothing here reads a value back from an
accelerator, so that a training step stays free of synchronisation and can be captured in a CUDA
graph; checks that need values run on the CPU only.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from common.choices import check_choice

Counts = Tensor | Sequence[float]

REDUCTIONS = ("mean", "sum", "none")
ENTRY_REDUCTIONS = ("mean", "per_image", "sum", "none")  # of losses with one value per class


def to_compute_dtype(values: Tensor) -> Tensor:
    """Return `values` as float32, or as float64 where they already are."""
    return values if values.dtype == torch.float64 else values.float()


def prepare(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Check a pair of logits and targets and split the targets into two masks.

    Args:
        logits: [B, C] scores of any floating dtype; never modified.
        targets: [B, C] of 1, 0 or -1, any dtype.

    Returns:
        Logits [B, C] in the compute dtype with 0 where the target is unknown (so that no value
        and no gradient passes there), `present` [B, C] and `known` [B, C], both boolean.

    Raises:
        TypeError: if `logits` is not floating point.
        ValueError: if the shapes differ, are not two-dimensional, or a target on the CPU is not
            1, 0 or -1.
    """
    if not logits.is_floating_point():
        raise TypeError(
            f"logits must be floating point, got {logits.dtype}: pass raw scores, not labels."
        )
    if logits.ndim != 2 or targets.shape != logits.shape:
        raise ValueError(
            "logits and targets must both be [B, C], got "
            f"{list(logits.shape)} and {list(targets.shape)}: targets are one row of 1/0/-1 per "
            "image, not class indices."
        )
    present, known = split_targets(targets)
    return to_compute_dtype(logits).masked_fill(~known, 0.0), present, known


def split_targets(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boolean masks `present` (1) and `known` (1 or 0) of targets [B, C]."""
    present, absent = targets == 1, targets == 0
    if targets.device.type == "cpu" and not bool((present | absent | (targets == -1)).all()):
        raise ValueError(
            "targets must be 1 (present), 0 (absent) or -1 (unknown), got "
            f"{sorted(set(targets.unique().tolist()) - {1, 0, -1})[:5]}."
        )
    return present, present | absent


def as_counts(class_counts: Counts, like: Tensor) -> Tensor:
    """Return training counts as a [C] tensor that goes with `like` [B, C].

    The result has the device of `like` and, if that is floating point, its dtype.

    Counts below one are raised to one: a class without any training image would otherwise divide
    by zero, and one image is the least that a class can have and still be learnt.

    Raises:
        ValueError: if there is not exactly one count per class.
    """
    counts = to_compute_dtype(torch.as_tensor(class_counts, device=like.device))
    if counts.shape != like.shape[1:]:
        raise ValueError(
            f"class_counts must hold one number per class, {list(like.shape[1:])}, got "
            f"{list(counts.shape)}."
        )
    if like.is_floating_point():
        counts = counts.to(like.dtype)
    return counts.clamp(min=1.0)


def factors_of(present: Tensor, value: float, other: float, like: Tensor) -> Tensor:
    """Return constants [B, C]: `value` where present and `other` elsewhere.

    A product with these has half the kernels, forward and backward, of a choice between two terms
    that both carry a gradient.
    """
    return torch.full_like(like, other).masked_fill_(present, value)


def answer_logits(logits: Tensor, present: Tensor) -> Tensor:
    """Return the logit of the true answer [B, C]: z where present, -z where absent.

    Its sigmoid is p_t, the probability given to the true answer.
    """
    return logits * factors_of(present, 1.0, -1.0, logits)


def cross_entropy(answers: Tensor) -> Tensor:
    """Return -log p_t = log(1 + exp(-answer)) without overflow, of the same shape."""
    return softplus(-answers)


def softplus(values: Tensor) -> Tensor:
    """Return log(1 + exp(value)) without overflow, of the same shape.

    It is linear above its threshold, here where the difference is below 1e-13. On the CPU
    `logsigmoid` would start a team of threads even for a handful of values.
    """
    return F.softplus(values, threshold=30.0)


def masked_mean(entries: Tensor, known: Tensor) -> Tensor:
    """Return the mean of finite `entries` over `known`; 0 where nothing is known."""
    return (entries * known).sum() / known.sum().clamp(min=1)


def reduce_entries(entries: Tensor, known: Tensor, reduction: str) -> Tensor:
    """Reduce a matrix of losses over its known entries.

    Args:
        entries: [B, C] losses.
        known: [B, C] boolean; what is not known counts neither in the sum nor in the mean.
        reduction: `mean` over known entries, `per_image` (sum over classes, mean over images),
            `sum`, or `none` ([B, C], 0 at unknown).
    """
    check_choice("reduction", reduction, ENTRY_REDUCTIONS)
    if reduction == "mean":
        return masked_mean(entries, known)
    entries = entries.masked_fill(~known, 0.0)
    if reduction == "none":
        return entries
    return entries.sum() / (max(len(entries), 1) if reduction == "per_image" else 1)
