"""Co-occurrence confusion: which absent classes score high when a class is present."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MIN_IMAGES = 5  # fewer images with one class and without the other say nothing of the two


class Confusion(NamedTuple):
    """How high absent classes score where a class is present.

    Attributes:
        level: [C, C] for present class a (row) and absent class b (column): the mean share of all
            images without b that score lower in b than the images with a and without b do, in
            [0, 1]. 0.5 means that a does not matter to b's score; NaN where there is no image.
        images: [C, C] number of images with a and without b.
    """

    level: Tensor
    images: Tensor

    def reordered(self, order: Sequence[int]) -> Confusion:
        """The same with classes in another order."""
        return Confusion(*(matrix[order][:, order] for matrix in self))


class Pair(NamedTuple):
    """Present class `a`, absent class `b`, their confusion and the images behind it."""

    a: int
    b: int
    level: float
    images: int


def confusion(scores: Tensor, targets: Tensor) -> Confusion:
    """Compare each class's scores of images without it, by what else they show.

    Shares are of ranks within a class, so that scores of different classes need no common scale;
    ties count half.

    Args:
        scores: [N, C].
        targets: [N, C], 1 present, 0 absent, -1 unknown (takes no part).
    """
    present, absent = (targets == 1).double(), targets == 0  # [N, C]
    shares = torch.zeros_like(scores, dtype=torch.float64)
    for b in range(scores.shape[1]):
        without = scores[absent[:, b], b].contiguous()  # [K]
        ranked = without.sort().values
        lower = torch.searchsorted(ranked, without) + torch.searchsorted(
            ranked, without, right=True
        )
        shares[absent[:, b], b] = lower.double() / 2 / max(len(without), 1)
    images = present.t() @ absent.double()  # [C, C]
    return Confusion(present.t() @ shares / images, images.long())


def most_confused(found: Confusion, count: int) -> list[Pair]:
    """The pairs of classes with the highest levels, of those with `MIN_IMAGES` images or more.

    Args:
        found: of `confusion`.
        count: pairs at most.
    """
    level = found.level.masked_fill(found.images < MIN_IMAGES, -1).nan_to_num(-1)
    order = level.flatten().argsort(descending=True, stable=True)[:count]
    places = [divmod(place, len(level)) for place in order.tolist()]
    return [
        Pair(a, b, level[a, b].item(), found.images[a, b].item())
        for a, b in places
        if level[a, b] >= 0
    ]
