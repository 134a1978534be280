"""Average precision of runs in each score space: on their test images, and on resamples of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from evaluation.comparing.paired_bootstrap import resampled_precisions
from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.class_rankings import ClassRankings
from evaluation.metrics.output_link import LINKED
from evaluation.results.run_scores import link_of, load_run_scores
from evaluation.results.saved_scores import (
    SavedScores,
    check_same_images,
    difference_of_images,
    rank_scores,
)

__all__ = ["Precisions", "RunPrecisions", "ScoredRun"]


class Precisions(NamedTuple):
    """Average precision of a run in a score space, in percent; NaN where it is undefined.

    Attributes:
        own: [C], of the test images.
        resampled: [R, C], of resamples of them.
    """

    own: Tensor
    resampled: Tensor


class ScoredRun(NamedTuple):
    """What a run reaches.

    Attributes:
        images: number of its test images' list, among those that were met.
        spaces: its figures, by score space.
    """

    images: int
    spaces: Mapping[str, Precisions]


class RunPrecisions:
    """Scores runs of the same classes; those tested on the same images on the same resamples.

    Args:
        first: a run; others are refused unless they know its classes.
        resamples: R.
    """

    def __init__(self, first: Mapping[str, Any], resamples: int) -> None:
        self._names, self._resamples = _names(first), resamples
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._tested: list[SavedScores] = []  # one of each list of test images

    def of(self, runs: Sequence[Mapping[str, Any]]) -> list[ScoredRun]:
        """The figures of some runs.

        Raises:
            FileNotFoundError: a run's scores were not saved.
            ValueError: they are damaged or not its own, or of other classes.
        """
        saved = [self._load(run) for run in runs]
        numbers = [self._number(one) for one in saved]
        figures: list[dict[str, Precisions]] = [{} for _ in runs]
        for number in dict.fromkeys(numbers):
            of_number = [i for i, other in enumerate(numbers) if other == number]
            places = [(i, space) for i in of_number for space in _spaces(runs[i])]
            scores = [
                rank_scores(saved[i].logits, space, link_of(runs[i])).to(self._device)
                for i, space in places
            ]
            targets = self._tested[number].targets.to(self._device)
            rankings = [ClassRankings(ranked, targets) for ranked in scores]
            resampled = resampled_precisions(rankings, len(targets), self._resamples, self._device)
            for (i, space), ranked, precisions in zip(places, scores, resampled, strict=True):
                own = 100 * average_precision(ranked, targets).cpu()
                figures[i][space] = Precisions(own, 100 * precisions)
        return [ScoredRun(*each) for each in zip(numbers, figures, strict=True)]

    def images(self, number: int) -> int:
        """How many images a list of them has."""
        return len(self._tested[number].targets)

    def check_same_images(self, one: ScoredRun, other: ScoredRun) -> None:
        """Refuse two runs that were tested on different images, or other labels.

        Raises:
            ValueError: they were.
        """
        if one.images != other.images:
            check_same_images(self._tested[one.images], self._tested[other.images])

    def _load(self, run: Mapping[str, Any]) -> SavedScores:
        if _names(run) != self._names:
            raise ValueError(f"{run['path']} knows other classes, or in another order")
        return load_run_scores(run)

    def _number(self, saved: SavedScores) -> int:
        """Number of a run's list of test images, new or met before."""
        for number, met in enumerate(self._tested):
            if not difference_of_images(met, saved):
                return number
        self._tested.append(saved)
        return len(self._tested) - 1


def _spaces(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Score spaces of a run's figures; a sigmoid ranks as the logits do."""
    return ("logit", "softmax", *([LINKED] if link_of(run) else []))


def _names(run: Mapping[str, Any]) -> list[str]:
    return [row["name"] for row in run["per_class"]]
