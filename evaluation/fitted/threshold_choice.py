"""Thresholds chosen on images whose labels are known: for the best F1, or for a precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from evaluation.metrics.average_precision import check_scores

__all__ = ["ChosenThreshold", "Criterion", "best_threshold", "choose_thresholds"]

FEWEST_POSITIVES = 5  # of a class that gets a threshold of its own


@dataclass(frozen=True)
class Criterion:
    """What a threshold is to bring about.

    Attributes:
        precision: the least one, in (0, 1], at which recall is to be as high as possible; None for
            the highest F1.
    """

    precision: float | None = None

    @classmethod
    def parse(cls, text: str) -> Criterion:
        """A criterion from "f1" or "precision=0.9".

        Raises:
            ValueError: it is neither.
        """
        name, equals, number = text.partition("=")
        try:
            if name == "precision" and 0 < float(number) <= 1:
                return cls(float(number))
        except ValueError:
            pass
        if name == "f1" and not equals:
            return cls()
        raise ValueError(
            f"Thresholds are chosen for f1, or for precision=P with P in (0, 1]; got {text!r}."
        )

    def __str__(self) -> str:
        return "f1" if self.precision is None else f"precision={self.precision:g}"


class ChosenThreshold(NamedTuple):
    """A threshold and what it brings about on the images that it was chosen on.

    Attributes:
        log_odds: a class is predicted above it; see `metrics.threshold_metrics.log_odds`.
        precision: share of the predicted that are present.
        recall: share of the present that are predicted.
        f1: their harmonic mean.
        positives: images in which the class is present.
        rule: the criterion, or what took its place and why.
    """

    log_odds: float
    precision: float
    recall: float
    f1: float
    positives: int
    rule: str


def choose_thresholds(
    log_odds: Tensor,
    targets: Tensor,
    criterion: Criterion,
    per_class: bool,
    fewest_positives: int = FEWEST_POSITIVES,
) -> list[ChosenThreshold]:
    """Choose a threshold for each class, or one for all.

    The shared threshold pools the decisions of all classes: for F1 it maximises OF1. With
    `per_class` every class is decided by itself; those with too few positives get the shared one.

    Args:
        log_odds: [N, C], of the scores.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).
        criterion: what for.
        per_class: whether each class has its own.
        fewest_positives: that a class needs to have its own; at least 1.

    Returns:
        C thresholds.

    Raises:
        ValueError: no target is positive, a score is no finite number, or shapes differ.
    """
    check_scores([log_odds], [targets])
    if not log_odds.isfinite().all():
        raise ValueError("Scores are infinite, as a softmax over one class is; there is no choice.")
    if fewest_positives < 1:
        raise ValueError(f"A class needs at least 1 positive, got a minimum of {fewest_positives}.")
    if not (targets == 1).any():
        raise ValueError("No class is present in any image; thresholds cannot be chosen on these.")
    shared = best_threshold(log_odds.flatten(), targets.flatten(), criterion)
    chosen = []
    for scores, present in zip(log_odds.T, targets.T, strict=True):
        positives = int((present == 1).sum())
        if per_class and positives >= fewest_positives:
            chosen.append(best_threshold(scores, present, criterion))
        else:
            few = f" ({positives} positives, fewer than {fewest_positives})" if per_class else ""
            rule = f"shared{few}: {shared.rule}"
            chosen.append(_outcome(scores, present, shared.log_odds, rule))
    return chosen


def best_threshold(scores: Tensor, targets: Tensor, criterion: Criterion) -> ChosenThreshold:
    """The best of all thresholds for one class.

    All that differ are compared: one below each distinct score. It lies half-way to the next lower
    score, and one unit below the lowest. Of equally good ones the highest is chosen. A precision
    that no threshold reaches is replaced by the highest there is, with the most recall.

    Args:
        scores: [N], finite.
        targets: [N], 1 present, 0 absent, -1 unknown; at least one is 1.
        criterion: what for.
    """
    known = targets != -1
    ranked, order = scores[known].double().sort(descending=True, stable=True)
    hits = (targets[known][order] == 1).cumsum(dim=0)  # [K]
    last = torch.ones_like(ranked, dtype=torch.bool)
    last[:-1] = ranked[1:] < ranked[:-1]  # equal scores are predicted together
    hits, predicted = hits[last].double(), last.nonzero()[:, 0].double() + 1
    precision = hits / predicted
    rule = str(criterion)
    if criterion.precision is None:
        best = int((2 * hits / (predicted + hits[-1])).argmax())  # argmax takes the first
    else:
        reached = precision >= criterion.precision
        if not reached.any():
            reached = precision == precision.max()
            rule = f"highest precision, {precision.max():.3f}: {criterion} is not reached"
        best = int(torch.where(reached, hits, -1.0).argmax())
    distinct = ranked[last].tolist()
    low = distinct[best + 1] if best + 1 < len(distinct) else distinct[best] - 2
    middle = low + (distinct[best] - low) / 2
    return _outcome(scores, targets, middle if middle < distinct[best] else low, rule)


def _outcome(scores: Tensor, targets: Tensor, log_odds: float, rule: str) -> ChosenThreshold:
    """What a threshold brings about; ratios without a denominator are 0."""
    predicted, present = (scores.double() > log_odds) & (targets != -1), targets == 1
    hits, positives = int((predicted & present).sum()), int(present.sum())
    total = int(predicted.sum())
    return ChosenThreshold(
        log_odds,
        hits / total if total else 0.0,
        hits / positives if positives else 0.0,
        2 * hits / (total + positives) if total + positives else 0.0,
        positives,
        rule,
    )
