"""A bounded output link before the softmax over classes.

A softmax subtracts logsumexp(z) from an image's logits z. That follows the image's strongest class,
so classes that are there together push each other down. With u = sigmoid((z - a) / b) in place of z
no class can push further than a bounded score reaches.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from evaluation.metrics.average_precision import average_precision

__all__ = ["LINKED", "Link", "choose_link"]

LINKED = "softmax_link"  # the score space, among those of TEST.SCORE

_CENTRES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # quantiles of the logits
_WIDTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)  # times their standard deviation
_FEW = 1_000_000  # logits that quantiles are taken of


class Link(NamedTuple):
    """u = sigmoid((z - centre) / width) of a logit z.

    Attributes:
        centre: the logit of u = 1/2.
        width: above 0; a small one makes a step of it.
    """

    centre: float
    width: float

    def __call__(self, logits: Tensor) -> Tensor:
        """Bounded scores in (0, 1), of logits of any shape."""
        return torch.sigmoid((logits - self.centre) / self.width)

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Scores [N, C] of logits [N, C]: the logarithm of a softmax of u over the classes."""
        return self(logits.double()).log_softmax(dim=1)


def choose_link(logits: Tensor, targets: Tensor) -> Link:
    """The link whose softmax has the highest mAP on validation images.

    81 are tried: centres at quantiles of the logits, widths in parts of their standard deviation.

    Args:
        logits: [N, C].
        targets: [N, C], 1 present, 0 absent, -1 unknown.

    Raises:
        ValueError: no class has a positive, or all logits are equal.
    """
    logits = logits.double()
    spread = logits.std().item()
    if not (targets == 1).any() or not spread > 0:
        raise ValueError("expected logits that differ and a positive target, to choose a link by")
    flat = logits.flatten()
    sample = flat[:: -(-len(flat) // _FEW)]
    levels = torch.tensor(_CENTRES, dtype=sample.dtype, device=sample.device)
    best, found = -1.0, None
    for centre in sample.quantile(levels).tolist():
        for part in _WIDTHS:
            link = Link(float(f"{centre:.4g}"), float(f"{part * spread:.4g}"))
            value = average_precision(link.log_softmax(logits), targets).nanmean().item()
            if value > best:
                best, found = value, link
    return found
