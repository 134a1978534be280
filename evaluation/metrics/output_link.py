"""A bounded output link before the softmax over classes.

A softmax subtracts logsumexp(z) from an image's logits z. That follows the image's strongest class,
so classes that are there together push each other down. With u = sigmoid((z - a) / b) in place of z
no class can push further than a bounded score reaches. u = z is a link, too.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from yacs.config import CfgNode

from evaluation.metrics.average_precision import average_precision

__all__ = ["IDENTITY", "LINKED", "LINKS", "Link", "choose_link", "link_keys", "link_of"]

LINKED = "softmax_link"  # the score space, among those of TEST.SCORE
LINKS = {"sigmoid": "bounded scores", "identity": "the logits themselves"}  # of TEST.LINK

_CENTRES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)  # quantiles of the logits
_WIDTHS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0)  # times their standard deviation
_FEW = 1_000_000  # logits that quantiles are taken of


class Link(NamedTuple):
    """u = sigmoid((z - centre) / width) of a logit z, or u = z.

    Attributes:
        centre: the logit of u = 1/2.
        width: a small one makes a step of it; 0 is the identity, u = z.
    """

    centre: float
    width: float

    def __call__(self, logits: Tensor) -> Tensor:
        """Scores u of logits of any shape: in (0, 1), but for the identity."""
        if self.width == 0:
            return logits
        return torch.sigmoid((logits - self.centre) / self.width)

    def log_softmax(self, logits: Tensor) -> Tensor:
        """Scores [N, C] of logits [N, C]: the logarithm of a softmax of u over the classes."""
        return self(logits.double()).log_softmax(dim=1)


IDENTITY = Link(0.0, 0.0)


def link_keys(link: Link) -> dict[str, str | float]:
    """Config keys that evaluate with a link."""
    if link == IDENTITY:
        return {"TEST.LINK": "identity"}
    return {
        "TEST.LINK": "sigmoid",
        "TEST.LINK_CENTRE": link.centre,
        "TEST.LINK_WIDTH": link.width,
    }


def link_of(test: CfgNode) -> Link | None:
    """The link that config keys under TEST name; None: there is none.

    Raises:
        ValueError: scores of a link are asked for, and there is none.
    """
    if test.LINK == "identity":
        return IDENTITY
    if test.LINK_WIDTH > 0:
        return Link(test.LINK_CENTRE, test.LINK_WIDTH)
    if test.SCORE == LINKED:
        raise ValueError(
            f"TEST.SCORE {LINKED} needs TEST.LINK identity, or TEST.LINK_CENTRE and a "
            "TEST.LINK_WIDTH above 0, which scripts/choose_link.py chooses on validation images."
        )
    return None


def choose_link(logits: Tensor, targets: Tensor) -> Link:
    """The link whose softmax has the highest mAP on validation images.

    82 are tried: the identity, which stays unless another one is better, and 81 sigmoids with
    centres at quantiles of the logits and widths in parts of their standard deviation.

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
    centres = sample.quantile(levels).tolist()
    pairs = [(centre, part * spread) for centre in centres for part in _WIDTHS]
    links = [IDENTITY, *(Link(*(float(f"{x:.4g}") for x in pair)) for pair in pairs)]

    def mean_precision(link: Link) -> float:
        return average_precision(link.log_softmax(logits), targets).nanmean().item()

    return max(links, key=mean_precision)  # the first of equal ones
