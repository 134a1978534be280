"""Losses for multi-label, long-tailed recognition: pure functions of tensors.

Every classification loss is `name(logits [B, C], targets [B, C], ..., reduction="mean")` with
targets of 1 (present), 0 (absent) or -1 (unknown). `build_loss` finds one by name and binds the
training counts, so that a trainer calls `loss(logits, targets)`.

Every module of this folder is imported and registers its losses itself, so a new loss is one new
file; what is imported by name below are functions that others use without a config.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from common.choices import check_choice, hint
from common.plugins import import_modules
from losses._common import Counts
from losses.asymmetric import asymmetric_loss
from losses.class_balanced import class_balanced_loss, effective_number_weights
from losses.class_specific_embedding import (
    class_margins,
    class_specific_embedding_loss,
    class_weights,
    effective_counts,
)
from losses.distribution_balanced import (
    check_num_train,
    class_bias,
    distribution_balanced_loss,
    rebalance_weights,
)
from losses.focal import binary_cross_entropy, focal_loss
from losses.ranking import ranking_loss
from losses.registry import GIVEN, LOSSES, forget_losses, register_loss
from losses.softmax import softmax_cross_entropy

__all__ = [
    "LOSSES",
    "asymmetric_loss",
    "binary_cross_entropy",
    "build_loss",
    "class_balanced_loss",
    "class_bias",
    "class_margins",
    "class_specific_embedding_loss",
    "class_weights",
    "distribution_balanced_loss",
    "effective_counts",
    "effective_number_weights",
    "focal_loss",
    "loss_options",
    "ranking_loss",
    "rebalance_weights",
    "register_loss",
    "softmax_cross_entropy",
]


def loss_options(name: str) -> list[str]:
    """Return the options that `build_loss` accepts for `name`.

    A switch that makes the name what it is (`focal` for `db_no_focal`) is no option.
    """
    check_choice("loss", name, LOSSES)
    loss = LOSSES[name]
    switches = [word for word, value in loss.keywords.items() if isinstance(value, bool)]
    return [p for p in inspect.signature(loss).parameters if p not in (*switches, *GIVEN)]


def build_loss(
    name: str, class_counts: Counts, num_train: int, **options: object
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return `loss(logits [B, C], targets [B, C])` with counts and options bound.

    Args:
        name: a key of `LOSSES`.
        class_counts: [C] training images per class. Pass a tensor on the training device: the
            step then copies nothing and can be captured in a CUDA graph.
        num_train: number of training images.
        **options: keyword arguments of the loss function.

    Raises:
        ValueError: on an unknown name or option (with the nearest valid one), or if `num_train`
            is smaller than the largest count.
    """
    allowed = loss_options(name)
    for option in options:
        if option not in allowed:
            raise ValueError(
                f"loss {name!r} has no option {option!r}, only {', '.join(allowed)}."
                f"{hint(option, allowed)}"
            )
    counts = torch.as_tensor(class_counts, dtype=torch.float32)
    available = {"class_counts": counts, "num_train": num_train}
    accepted = inspect.signature(LOSSES[name]).parameters
    if "num_train" in accepted:
        check_num_train(counts.cpu(), num_train)
    bound = {k: v for k, v in available.items() if k in accepted}
    return partial(LOSSES[name], **bound, **options)


MODULES, BROKEN = import_modules(__name__, __path__)
for _module in BROKEN:
    forget_losses(_module.name)
