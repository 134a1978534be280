"""Average precision of one ranking under many weightings of its images, as a bootstrap needs it.

A resample that draws an image w times is the same ranking with weight w on that image. Its copies
have equal scores and share a threshold, as in `average_precision`. So each class is
sorted once; then only the thresholds at which positives lie count:

    AP = sum_k g_k * H_k / S_k / H_K

with g_k the weight of the positives at the k-th such threshold, H_k that of all positives down to
it, and S_k that of all images down to it. What lies between two such thresholds is summed as one
bag of rows of the weights, [N, R], which is a plain addition of long rows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.metrics.average_precision import check_scores

__all__ = ["ClassRankings"]

_TINY = torch.finfo(torch.float32).tiny


class ClassRankings:
    """Scores of a split, sorted once for each class.

    Args:
        scores: [N, C], floating point; higher means more likely present.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).

    Attributes:
        thresholds: for each class, the number of distinct scores that positives have.

    Raises:
        TypeError: `scores` are not floating point.
        ValueError: as of `average_precision.check_scores`; or no target is 1.
    """

    def __init__(self, scores: Tensor, targets: Tensor) -> None:
        check_scores([scores], [targets])
        if not (targets == 1).any():
            raise ValueError("expected at least one positive target, got none; check the labels")
        ranked, order = scores.T.contiguous().sort(dim=1, descending=True)  # [C, N]
        classes = [
            _bags(s[t != -1], t[t != -1] == 1, o[t != -1])
            for s, t, o in zip(ranked, targets.T.gather(1, order), order, strict=True)
        ]
        self.thresholds = [len(ends) for _, ends, _, _ in classes]
        self._seen = _joined([(images, ends) for images, ends, _, _ in classes])
        self._present = _joined([(images, ends) for _, _, images, ends in classes])

    def average_precision(self, weights: Tensor) -> Tensor:
        """Average precision of each class under each of R weightings.

        Args:
            weights: [N, R] float32, how often each image was drawn; counts of up to 2**24 in all
                are summed exactly.

        Returns:
            [R, C] float64, NaN where no positive of a class has weight.
        """
        bags = [
            F.embedding_bag(images, weights, starts, mode="sum").split(self.thresholds)
            for images, starts in (self._present, self._seen)
        ]
        return torch.stack([_precision(*pair) for pair in zip(*bags, strict=True)], dim=1)


def _bags(scores: Tensor, present: Tensor, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One class's images and positives by threshold.

    Args:
        scores: [n], from the highest down.
        present: [n], truth values.
        images: [n], rows of the weights.

    Returns:
        Images down to the lowest positive and the place behind each bag of them; then the same of
        the positives alone.
    """
    is_last = torch.ones_like(present)
    is_last[:-1] = scores[1:] != scores[:-1]  # of a run of equal scores
    run = is_last.cumsum(0) - is_last.long()  # [n], the run that an image belongs to
    runs, positives = run[present].unique_consecutive(return_counts=True)
    ends = is_last.nonzero().flatten()[runs] + 1
    return images[: int(ends[-1]) if len(ends) else 0], ends, images[present], positives.cumsum(0)


def _joined(classes: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """All classes' images in one list, and where each bag starts in it."""
    images = torch.cat([images for images, _ in classes])
    starts, done = [], 0
    for members, ends in classes:
        starts.append(done + ends.roll(1).index_fill_(0, ends.new_zeros(min(len(ends), 1)), 0))
        done += len(members)
    return images, torch.cat(starts)


def _precision(present: Tensor, seen: Tensor) -> Tensor:
    """AP [R] of one class from the weights [K, R] that each threshold adds."""
    if not len(present):
        return present.new_full(present.shape[1:], torch.nan, dtype=torch.float64)
    gained = present.double()
    hits = gained.cumsum(0)
    retrieved = seen.double().cumsum_(0).clamp_(min=_TINY)  # 0 only where nothing is gained
    return (gained * hits).div_(retrieved).sum(0).div_(hits[-1])  # 0 / 0 is NaN
