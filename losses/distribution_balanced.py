"""Distribution-balanced loss (Wu et al., ECCV 2020, arXiv 2007.09654).

Three parts, each with its own switch: re-balanced weights, negative-tolerant regularisation and a
focal factor. Three variants are in use and differ in value and gradient:

- `paper`: class bias -kappa log(N/n - 1), as printed.
- `official`: the authors' code, which divides that bias by `neg_scale` as well.
- `lmpt`: the official bias, but the cross-entropy is averaged over the batch before the focal
  factor, so that L = balance (1 - exp(-mean BCE))^gamma mean(r BCE): one factor for all entries.
  It is a scalar by construction. When most entries are saturated it comes close to `official`.

Absent entries are divided by `neg_scale` with and without the weights. BalancedLossNLP divides
the weights instead; its NTR-Focal has none, so its absent entries weigh `neg_scale` times more
than the equation says, and than those of `ntr_focal` here (see `tolerate_negatives`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from common.choices import check_choice
from common.config.config_rules import Choice, Number
from losses._common import (
    Counts,
    answer_logits,
    as_counts,
    cross_entropy,
    factors_of,
    masked_mean,
    prepare,
    reduce_entries,
    split_targets,
    to_compute_dtype,
)
from losses.focal import focal_modulation
from losses.registry import register_loss

VARIANTS = ("official", "paper", "lmpt")


def rebalance_weights(
    targets: Tensor, class_counts: Counts, alpha: float = 0.1, beta: float = 10.0, mu: float = 0.3
) -> Tensor:
    """Return the smoothed re-balancing weights r [B, C].

    An image is drawn through any of its classes, P^I = sum over present j of 1/n_j; class c alone
    would have drawn it with 1/n_c. Their ratio rho_c = (1/n_c) / P^I is smoothed to
    r_c = alpha + sigmoid(beta (rho_c - mu)). Absent classes get a weight by the same formula.

    An image without a present class has P^I = 0 and takes the limit r = alpha + 1.

    Args:
        targets: [B, C]; -1 counts as absent.
        class_counts: [C] training images per class.
        alpha: lift of every weight.
        beta: steepness of the smoothing.
        mu: ratio at which the sigmoid is one half.
    """
    present, _ = split_targets(targets)
    return _rebalance(present, as_counts(class_counts, present), alpha, beta, mu)


def _rebalance(present: Tensor, counts: Tensor, alpha: float, beta: float, mu: float) -> Tensor:
    inverse = counts.reciprocal()
    # The floor is far below 1/n of any data set; it keeps the ratio finite without a present class.
    image_rate = (present * inverse).sum(dim=1, keepdim=True).clamp(min=1e-12)  # [B, 1]
    return alpha + torch.sigmoid(beta * (inverse / image_rate - mu))


def class_bias(
    class_counts: Counts, num_train: int, kappa: float = 0.05, divisor: float = 1.0
) -> Tensor:
    """Return the bias b_c = -kappa log(N / n_c - 1) / divisor that is added to the logits, [C].

    It is kappa times the logit of the class prior: negative for rare classes.

    Args:
        class_counts: [C] training images per class.
        num_train: N, the number of training images (not of batches).
        kappa: size of the bias, `init_bias` of the loss.
        divisor: 1 in the paper; the official code divides by `neg_scale`.

    Raises:
        ValueError: if `num_train` is below 2 or, seen on the CPU only, below a count.
    """
    counts = to_compute_dtype(torch.as_tensor(class_counts))
    check_num_train(counts, num_train)
    # Without both bounds a class in no image, or in every image, has an infinite bias.
    counts = counts.clamp(min=1.0, max=num_train - 1.0)
    return kappa / divisor * torch.logit(counts / num_train)


def check_num_train(class_counts: Tensor, num_train: int) -> None:
    """Raise `ValueError` if `num_train` is below 2 or, on the CPU, below a count."""
    if num_train < 2:
        raise ValueError(f"num_train must be at least 2, got {num_train}.")
    if class_counts.device.type == "cpu" and class_counts.max() > num_train:
        raise ValueError(
            f"num_train is {num_train} but the most frequent class has "
            f"{class_counts.max().item():g} images: pass the number of training images."
        )


def tolerate_negatives(
    logits: Tensor, present: Tensor, bias: Tensor, neg_scale: float
) -> tuple[Tensor, Tensor]:
    """Apply the negative-tolerant regularisation.

    With v = z + b, a present entry costs -log sigmoid(v) and an absent one
    -log sigmoid(-neg_scale v) / neg_scale: steep near zero, but easily satisfied.

    Returns:
        Logits of the true answers [B, C] and the factors [B, C] of their losses.
    """
    answers = (logits + bias) * factors_of(present, 1.0, -neg_scale, logits)
    return answers, factors_of(present, 1.0, 1.0 / neg_scale, logits)


# The compositions other than "db" take their scale (balance, loss_weight) from BalancedLossNLP
# (Huang et al., EMNLP 2021). That code has the class bias of variant "paper"; here the variant is
# an option of every composition, so that an ablation changes one part at a time.
@register_loss(
    {
        "db": {},
        "db_no_focal": {"focal": False, "loss_weight": 0.5},
        "r_bce_focal": {"negative_tolerant": False, "balance": 0.5},
        "ntr_focal": {"rebalance": False, "balance": 0.5},
    },
    options={
        "VARIANT": Choice(VARIANTS),
        "ALPHA": Number(least=0),
        "BETA": Number(least=0),
        "MU": Number(),
        "NEG_SCALE": Number(above=0),
        "INIT_BIAS": Number(least=0),
        "FOCAL_GAMMA": Number(least=0),
    },
)
def distribution_balanced_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Counts,
    num_train: int,
    variant: str = "official",
    alpha: float = 0.1,
    beta: float = 10.0,
    mu: float = 0.3,
    neg_scale: float = 5.0,
    init_bias: float = 0.05,
    focal_gamma: float = 2.0,
    balance: float = 2.0,
    *,
    rebalance: bool = True,
    negative_tolerant: bool = True,
    focal: bool = True,
    loss_weight: float = 1.0,
    reduction: str = "mean",
) -> Tensor:
    """Return the distribution-balanced loss; defaults of VOC-LT (COCO-LT: mu=0.2, neg_scale=2).

    Args:
        logits: [B, C] scores before the sigmoid, not modified.
        targets: [B, C] of 1, 0 or -1 (unknown: left out, absent for the weights).
        class_counts: [C] training images per class.
        num_train: number of training images.
        variant: `official`, `paper` or `lmpt`, see the top of this file.
        alpha: lift of the weights, see `rebalance_weights`.
        beta: steepness of the weights.
        mu: centre of the weights.
        neg_scale: scale of absent entries, see `tolerate_negatives`.
        init_bias: size of the class bias, kappa in the paper.
        focal_gamma: focusing exponent.
        balance: constant factor that comes with the focal part.
        rebalance: use the re-balancing weights.
        negative_tolerant: use the class bias and the scale of absent entries.
        focal: use the focal factor and `balance`.
        loss_weight: constant factor of the whole loss.
        reduction: `mean` over known entries, `per_image`, `sum`, or `none` for the [B, C]
            entries; `lmpt` with its focal part is a `mean`.

    Raises:
        TypeError: if the logits are not floating point.
        ValueError: on a wrong shape, variant, reduction, target or `num_train`.
    """
    _check_variant(variant, focal, reduction)
    logits, present, known = prepare(logits, targets)
    counts = as_counts(class_counts, logits)
    if negative_tolerant:
        bias = class_bias(counts, num_train, init_bias, 1.0 if variant == "paper" else neg_scale)
        answers, factors = tolerate_negatives(logits, present, bias, neg_scale)
    else:
        answers, factors = answer_logits(logits, present), torch.ones_like(logits)
    if rebalance:
        factors = factors * _rebalance(present, counts, alpha, beta, mu)
    costs = cross_entropy(answers)
    factors = factors * (loss_weight * balance if focal else loss_weight)
    if focal and variant == "lmpt":
        return _batch_focus(costs, known, focal_gamma) * masked_mean(factors * costs, known)
    if focal:
        factors = factors * focal_modulation(answers, focal_gamma)
    return reduce_entries(factors * costs, known, reduction)


def _batch_focus(costs: Tensor, known: Tensor, gamma: float) -> Tensor:
    mistake = -torch.expm1(-masked_mean(costs, known))
    # The floor keeps the slope of the power finite for exponents below 1.
    return mistake.clamp(min=1e-12).pow(gamma)


def _check_variant(variant: str, focal: bool, reduction: str) -> None:
    check_choice("variant", variant, VARIANTS)
    if variant == "lmpt" and focal and reduction in ("per_image", "sum", "none"):
        raise ValueError(
            f"variant 'lmpt' has one focal factor per batch and is a mean, got reduction "
            f"{reduction!r}: use reduction 'mean' or variant 'official'."
        )
