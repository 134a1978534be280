"""A linear classifier on image features, alone or with the image tower under it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from modeling.tuning.towers import IMAGE
from modeling.tuning.whole_towers import WholeTowers

STARTS = {
    "zeros": "every logit 0",
    "random": "as nn.Linear starts",
    "text": "the classes' text features times CLIP's scale: zero-shot CLIP",
}


class LinearHead(nn.Linear):
    """Logits W f + b of L2-normalised features f: [B, D] -> [B, C].

    Args:
        start: W [C, D] before training; b starts at 0.
    """

    def __init__(self, start: Tensor) -> None:
        classes, width = start.shape
        super().__init__(width, classes, device=start.device)
        with torch.no_grad():
            self.weight.copy_(start)
            self.bias.zero_()

    @torch.no_grad()
    def set_offset(self, mean_logit: Tensor) -> None:
        """Lower every bias by the mean logit of images and classes before training."""
        self.bias -= mean_logit


def start_weights(
    kind: str, text_features: Tensor, scale: float, generator: torch.Generator
) -> Tensor:
    """Weights [C, D] to start a head from.

    Args:
        kind: one of `STARTS`, checked by the caller.
        text_features: [C, D], L2-normalised.
        scale: of CLIP's logits, about 100.
        generator: source of the random start, on the CPU.
    """
    if kind == "text":
        return scale * text_features
    start = torch.zeros_like(text_features)
    if kind == "random":
        bound = start.shape[1] ** -0.5  # nn.Linear's own
        start += torch.empty(start.shape).uniform_(-bound, bound, generator=generator).to(start)
    return start


class Classifier(WholeTowers):
    """What is trained: the head, and the image tower where that is tuned too.

    Args:
        head: the classifier.
        visual: the image tower, which then takes gradients; None leaves it out.
    """

    def __init__(self, head: LinearHead, visual: nn.Module | None = None) -> None:
        super().__init__({} if visual is None else {IMAGE: visual})
        self.head = head
