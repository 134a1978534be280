"""The worst mistakes of a class: absent images that score high, present ones that score low."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Mistake(NamedTuple):
    """An image on the wrong side of others.

    Attributes:
        image: its place among the N images.
        score: its score.
        rank: its place by score among the images whose label is known, 1 for the highest.
    """

    image: int
    score: float
    rank: int


def worst_mistakes(
    scores: Tensor, targets: Tensor, count: int
) -> tuple[list[Mistake], list[Mistake]]:
    """False positives and misses of one class, the worst first.

    A false positive is an image without the class that scores no lower than some image with it; a
    miss the other way round. A class that is ranked perfectly has neither.

    Args:
        scores: [N].
        targets: [N], 1 present, 0 absent, -1 unknown.
        count: of each kind at most.
    """
    positive, negative = scores[targets == 1], scores[targets == 0]
    if not len(positive) or not len(negative):
        return [], []
    wrong = (targets == 0) & (scores >= positive.min())
    missed = (targets == 1) & (scores <= negative.max())
    known = scores[targets != -1].sort(descending=True).values

    def first(chosen: Tensor, descending: bool) -> list[Mistake]:
        places = chosen.nonzero().flatten()
        order = scores[places].argsort(descending=descending, stable=True)[:count]
        return [_mistake(image, scores, known) for image in places[order].tolist()]

    return first(wrong, True), first(missed, False)


def _mistake(image: int, scores: Tensor, known: Tensor) -> Mistake:
    higher = torch.searchsorted(-known, -scores[image])
    return Mistake(image, scores[image].item(), 1 + int(higher))
