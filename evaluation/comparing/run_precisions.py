"""Average precision of runs in each score space: on the test images, and on resamples of them."""

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
from evaluation.results.saved_scores import SavedScores, check_same_images, rank_scores

__all__ = ["Precisions", "RunPrecisions"]


class Precisions(NamedTuple):
    """Average precision of a run in a score space, in percent; NaN where it is undefined.

    Attributes:
        own: [C], of the test images.
        resampled: [R, C], of resamples of them.
    """

    own: Tensor
    resampled: Tensor


class RunPrecisions:
    """Scores runs that were tested on the same images, all on the same resamples of them.

    Args:
        first: a run; others are refused unless they were tested on its images.
        resamples: R.

    Attributes:
        images: N, of the test images.

    Raises:
        FileNotFoundError: its scores were not saved.
        ValueError: they are damaged or not its own.
    """

    def __init__(self, first: Mapping[str, Any], resamples: int) -> None:
        self._first, self._names = load_run_scores(first), _names(first)
        self._resamples = resamples
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.images = len(self._first.targets)

    def of(self, runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Precisions]]:
        """The figures of some runs, by score space; arguments and errors as of the class."""
        places = [(i, space) for i, run in enumerate(runs) for space in _spaces(run)]
        logits = [self._load(run).logits for run in runs]
        scores = [
            rank_scores(logits[i], space, link_of(runs[i])).to(self._device) for i, space in places
        ]
        targets = self._first.targets.to(self._device)
        rankings = [ClassRankings(ranked, targets) for ranked in scores]
        resampled = resampled_precisions(rankings, self.images, self._resamples, self._device)
        figures: list[dict[str, Precisions]] = [{} for _ in runs]
        for (i, space), ranked, precisions in zip(places, scores, resampled, strict=True):
            own = 100 * average_precision(ranked, targets).cpu()
            figures[i][space] = Precisions(own, 100 * precisions)
        return figures

    def _load(self, run: Mapping[str, Any]) -> SavedScores:
        saved = load_run_scores(run)
        if _names(run) != self._names:
            raise ValueError(f"{run['path']} knows other classes, or in another order")
        check_same_images(self._first, saved)
        return saved


def _spaces(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Score spaces of a run's figures; a sigmoid ranks as the logits do."""
    return ("logit", "softmax", *([LINKED] if link_of(run) else []))


def _names(run: Mapping[str, Any]) -> list[str]:
    return [row["name"] for row in run["per_class"]]
