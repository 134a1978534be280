"""Class-balanced loss (Cui et al., CVPR 2019, arXiv 1901.05555) for images with several labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from common.choices import check_choice
from common.config.config_rules import Choice, Number
from losses._common import (
    Counts,
    answer_logits,
    as_counts,
    cross_entropy,
    prepare,
    reduce_entries,
    split_targets,
)
from losses.distribution_balanced import class_bias, tolerate_negatives
from losses.focal import focal_modulation
from losses.registry import register_loss

MODES = ("by_class", "average_n", "average_w", "min_n")


def effective_number_weights(
    targets: Tensor, class_counts: Counts, beta: float = 0.9, mode: str = "by_class"
) -> Tensor:
    """Return w(n) = (1 - beta) / (1 - beta^n) for each entry, [B, C].

    The modes say which n an image with several labels has (from the code of Wu et al., ECCV 2020):

    - `by_class`: n of the entry's own class, whatever the image holds;
    - `average_n`: w of the mean n of the present classes, one weight per image;
    - `average_w`: the mean w of the present classes, one weight per image;
    - `min_n`: w of the rarest present class, one weight per image.

    An image without a present class gets the limit of many images, 1 - beta, where a weight
    depends on the image.

    Args:
        targets: [B, C]; -1 counts as absent.
        class_counts: [C] training images per class.
        beta: in [0, 1); 0 gives 1 everywhere, towards 1 it becomes 1/n.
        mode: `by_class`, `average_n`, `average_w` or `min_n`.

    Raises:
        ValueError: on an unknown mode, `beta` out of range or a shape mismatch.
    """
    check_choice("mode", mode, MODES)
    if not 0.0 <= beta < 1.0:
        raise ValueError(f"beta must be in [0, 1), got {beta}.")
    present, _ = split_targets(targets)
    counts = as_counts(class_counts, present)

    def weight_of(n: Tensor) -> Tensor:
        # expm1 keeps 1 - beta^n exact for beta close to 1.
        return (1.0 - beta) / -torch.expm1(n * (math.log(beta) if beta else -float("inf")))

    if mode == "by_class":
        return weight_of(counts).expand(targets.shape)  # [B, C]
    if mode == "min_n":
        rarest = counts.expand(targets.shape).masked_fill(~present, float("inf")).amin(1)
        return weight_of(rarest)[:, None].expand(targets.shape)  # [B, C]
    labels = present.sum(dim=1)
    values = counts if mode == "average_n" else weight_of(counts)
    means = (present * values).sum(dim=1) / labels.clamp(min=1)
    weights = weight_of(means) if mode == "average_n" else means
    weights = weights.masked_fill(labels == 0, 1.0 - beta)
    return weights[:, None].expand(targets.shape)  # [B, C]


@register_loss(
    {"cb_focal": {"negative_tolerant": False}, "cb_ntr": {"negative_tolerant": True}},
    node="CB",
    options={
        "MODE": Choice(MODES),
        "BETA": Number(least=0, below=1),
        "ALPHA": Number(least=0, most=1),
        "GAMMA": Number(least=0),
        "NEG_SCALE": Number(above=0),  # this and the next: cb_ntr alone
        "INIT_BIAS": Number(least=0),
    },
)
def class_balanced_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    num_train: int | None = None,
    beta: float = 0.9,
    mode: str = "by_class",
    alpha: float = 0.5,
    gamma: float = 2.0,
    neg_scale: float = 2.0,
    init_bias: float = 0.05,
    loss_weight: float = 10.0,
    *,
    negative_tolerant: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """Return the focal loss weighted by effective numbers: CB-Focal and CB-NTR.

    Defaults are those of BalancedLossNLP (Huang et al., EMNLP 2021).

    Args:
        logits: [B, C] scores before the sigmoid.
        targets: [B, C] of 1, 0 or -1 (unknown: left out, absent for the weights).
        class_counts: [C] training images per class.
        num_train: number of training images; read only with `negative_tolerant`.
        beta: see `effective_number_weights`.
        mode: see `effective_number_weights`.
        alpha: weight of present entries; absent ones get 1 - alpha.
        gamma: focusing exponent; 0 switches focusing off.
        neg_scale: scale of absent entries, read only with `negative_tolerant`.
        init_bias: size of the class bias, read only with `negative_tolerant`.
        loss_weight: constant factor of the whole loss.
        negative_tolerant: add the negative-tolerant regularisation of the distribution-balanced
            loss in its paper form (CB-NTR).
        reduction: `mean` over known entries, `per_image`, `sum` or `none`.

    Returns:
        A scalar, or [B, C] for `none`; float32, or float64 for float64 logits.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a shape mismatch, an unknown mode, reduction or target value, or
            `negative_tolerant` without `num_train`.
    """
    logits, present, known = prepare(logits, targets)
    counts = as_counts(class_counts, logits)
    factors = loss_weight * effective_number_weights(present, counts, beta, mode)
    factors = factors * torch.where(present, alpha, 1.0 - alpha)
    answers = answer_logits(logits, present)
    if negative_tolerant:
        if num_train is None:
            raise ValueError("negative_tolerant needs num_train, the number of training images.")
        bias = class_bias(counts, num_train, init_bias)
        answers, tolerance = tolerate_negatives(logits, present, bias, neg_scale)
        factors = factors * tolerance
    entries = factors * focal_modulation(answers, gamma) * cross_entropy(answers)
    return reduce_entries(entries, known, reduction)
