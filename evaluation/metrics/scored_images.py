"""Logits and targets of a split, kept batch by batch and read in pieces of bounded size.

With 100,000 images and 10,000 classes the logits alone take 4 GB. So nothing here makes a second
matrix of that size: what goes image by image (decisions, softmax) reads rows, and what ranks the
images of a class reads columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from common.ranks import gather_rows, share
from evaluation.metrics.average_precision import ENTRIES, check_scores, rank_and_average
from evaluation.metrics.output_link import LINKED, Link

__all__ = ["ScoredImages"]

_OTHER = 2  # stands for targets that are not 1, 0 or -1, which `check` refuses


class ScoredImages:
    """Logits and targets of N images and C classes.

    Args:
        batches: pairs for `add`.
    """

    def __init__(self, batches: Iterable[tuple[Tensor, Tensor]] = ()) -> None:
        self._logits: list[Tensor] = []
        self._targets: list[Tensor] = []
        for logits, targets in batches:
            self.add(logits, targets)

    def __len__(self) -> int:
        return sum(map(len, self._logits))

    @property
    def num_classes(self) -> int:
        """C, once there is a batch."""
        return self._logits[0].shape[1]

    @property
    def logits(self) -> Tensor:
        """[N, C] float32, copied together."""
        return torch.cat(self._logits)

    @property
    def targets(self) -> Tensor:
        """[N, C] int8, copied together."""
        return torch.cat(self._targets)

    def add(self, logits: Tensor, targets: Tensor) -> None:
        """Keep a copy of a batch, without waiting for its device.

        Args:
            logits: [B, C].
            targets: [B, C], 1 present, 0 absent, -1 unknown; one byte each is kept.
        """
        small = targets.detach().to(logits.device, torch.int8, copy=True)
        self._logits.append(logits.detach().to(torch.float32, copy=True))
        self._targets.append(small.where(small == targets.to(small.device), _OTHER))

    def check(self, class_names: Sequence[str] | None = None) -> None:
        """Raise a ValueError as `check_scores` does."""
        check_scores(self._logits, self._targets, class_names)

    def rows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Logits and targets [n, C] of a few images at a time."""
        step = max(1, ENTRIES // self.num_classes)
        for pair in zip(self._logits, self._targets, strict=True):
            yield from zip(*(part.split(step) for part in pair), strict=True)

    def columns(
        self, space: str = "logit", link: Link | None = None, classes: slice | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Scores and targets [N, c] of a few classes at a time.

        Args:
            space: of TEST.SCORE; scores are those of `results.saved_scores.rank_scores`, but
                logits stay float32, which ranks alike.
            link: of the space softmax_link.
            classes: these alone, without a step; None: all.
        """
        over = None if space in ("logit", "sigmoid") else self._normaliser(link, space)
        step = max(1, ENTRIES // len(self))
        every = range(self.num_classes)[classes or slice(None)]
        for start in every[::step]:
            piece = slice(start, min(start + step, every.stop))
            scores, targets = (
                torch.cat([part[:, piece] for part in parts])
                for parts in (self._logits, self._targets)
            )
            if over is not None:
                scores = _linked(scores, link, space).sub_(over[0]).sub_(over[1])
            yield scores, targets

    def _normaliser(self, link: Link | None, space: str) -> tuple[Tensor, Tensor]:
        """What a softmax subtracts: each image's highest score, and the rest [N, 1]."""
        highest, rest = [], []
        for logits, _ in self.rows():
            scores = _linked(logits, link, space)
            highest.append(scores.amax(dim=1, keepdim=True))
            # Of the highest class, the logarithm of a softmax is what is subtracted beside it.
            rest.append(-F.log_softmax(scores, dim=1).amax(dim=1, keepdim=True))
        return torch.cat(highest), torch.cat(rest)

    def positives(self) -> Tensor:
        """Images in which each class is present, int64 [C]."""
        return sum((targets == 1).sum(dim=0) for _, targets in self.rows())

    def average_precision(self, space: str = "logit", link: Link | None = None) -> Tensor:
        """Average precision of each class, float64 [C]; see `metrics.average_precision`.

        Call `check` before it, and, where there are several ranks, on all of them: each ranks the
        images of its share of the classes. Arguments are those of `columns`.
        """
        pieces = self.columns(space, link, share(self.num_classes))
        return gather_rows(torch.cat([rank_and_average(*p) for p in pieces]), self.num_classes)

    def select(self, images: Tensor, classes: Tensor) -> ScoredImages:
        """Some images and some of the classes, by truth values [N] and [C]."""
        found, sizes = ScoredImages(), [len(part) for part in self._logits]
        for keep, *pair in zip(images.split(sizes), self._logits, self._targets, strict=True):
            found.add(*(part[keep][:, classes] for part in pair))
        return found

    def image(self, place: int) -> tuple[Tensor, Tensor]:
        """Logits and targets [C] of one image."""
        for logits, targets in zip(self._logits, self._targets, strict=True):
            if place < len(logits):
                return logits[place], targets[place]
            place -= len(logits)
        raise IndexError("there are fewer images")


def _linked(logits: Tensor, link: Link | None, space: str) -> Tensor:
    """What the softmax of a space is taken of, in float64."""
    return link(logits.double()) if space == LINKED else logits.double()
