"""Scores made into probabilities: a temperature and an offset, and how far off they are.

The calibrated probability of a class is `sigmoid(log_odds / temperature + offset)`, which keeps the
order of the images. Both are fitted by maximum likelihood (Platt, "Probabilistic outputs for
support vector machines", 1999, without his smoothing of the targets; Guo et al., "On calibration of
modern neural networks", ICML 2017, for the temperature).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from evaluation.metrics.average_precision import check_scores

__all__ = [
    "BINS",
    "Reliability",
    "ScoreCalibration",
    "calibration_error",
    "class_calibration_error",
    "fit_calibration",
    "reliability",
]

BINS = 15
FEWEST = 10  # positives, and negatives, of a class that is fitted by itself
_STEPS = 200  # LBFGS takes about ten


class ScoreCalibration(NamedTuple):
    """How a class's scores become probabilities.

    Attributes:
        temperature: above 0; divides the log-odds.
        offset: added after that.
        positives: images in which the class is present.
        rule: "maximum likelihood", or what took its place and why.
    """

    temperature: float
    offset: float
    positives: int
    rule: str


class Reliability(NamedTuple):
    """Predicted and true frequencies by bins of the predicted one.

    Attributes:
        count: predictions [BINS].
        predicted: their mean probability [BINS], 0 in an empty bin.
        present: share of them that are true [BINS], likewise.
    """

    count: Tensor
    predicted: Tensor
    present: Tensor


def fit_calibration(
    log_odds: Tensor, targets: Tensor, per_class: bool, fewest: int = FEWEST
) -> list[ScoreCalibration]:
    """Fit a temperature and an offset for each class, or one pair for all.

    With `per_class`, a class takes the pair of all classes where its own would mean nothing: too
    few positives or negatives, none of either in the other's range of scores (the likelihood then
    has no maximum), or scores that are lower where it is present.

    Args:
        log_odds: [N, C], of the scores.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).
        per_class: whether each class has its own.
        fewest: positives, and negatives, that a class needs for that.

    Returns:
        C of them.

    Raises:
        ValueError: the pair of all classes cannot be fitted, or shapes differ.
    """
    check_scores([log_odds], [targets])
    if not log_odds.isfinite().all():
        raise ValueError("Scores are infinite, as a softmax over one class is; nothing can be fit.")
    if fewest < 1:
        raise ValueError(f"A class needs at least 1 positive, got a minimum of {fewest}.")
    obstacle = _obstacle(log_odds, targets, 1)
    shared = None if obstacle else _fit(log_odds, targets)
    if shared is None or shared[0] <= 0:
        obstacle = obstacle or "scores are lower where a class is present"
        raise ValueError(f"These scores cannot be calibrated: {obstacle}. Take more images.")
    return [
        _of_class(scores, present, shared, per_class, fewest)
        for scores, present in zip(log_odds.T, targets.T, strict=True)
    ]


def _of_class(
    scores: Tensor, targets: Tensor, shared: tuple[float, float], per_class: bool, fewest: int
) -> ScoreCalibration:
    rule, found, obstacle = "maximum likelihood", shared, ""
    if per_class:
        obstacle = _obstacle(scores, targets, fewest)
        own = None if obstacle else _fit(scores, targets)
        if own is not None and own[0] <= 0:
            own, obstacle = None, "scores are lower where it is present"
        found = own or shared
    if not per_class or obstacle:
        rule = f"shared{f' ({obstacle})' if obstacle else ''}: {rule}"
    slope, offset = found
    return ScoreCalibration(1 / slope, offset, int((targets == 1).sum()), rule)


def _obstacle(scores: Tensor, targets: Tensor, fewest: int) -> str:
    """Why no line separates these scores with a finite slope; empty if one does."""
    present, absent = scores[targets == 1], scores[targets == 0]
    for name, some in (("positives", present), ("negatives", absent)):
        if len(some) < fewest:
            return f"{len(some)} {name}, fewer than {fewest}"
    if present.min() >= absent.max() or present.max() <= absent.min():
        return "a threshold separates all positives from all negatives"
    return ""


def _fit(scores: Tensor, targets: Tensor) -> tuple[float, float]:
    """Slope and offset of the greatest likelihood, which is concave in them."""
    known = targets != -1
    scores, present = scores[known].double(), (targets[known] == 1).double()  # [K] each
    middle, width = scores.mean(), scores.std()
    line = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # of standardised scores
    standardised = (scores - middle) / width
    optimizer = torch.optim.LBFGS(
        [line],
        max_iter=_STEPS,
        tolerance_grad=1e-10,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        optimizer.zero_grad()
        logits = standardised * line[0] + line[1]
        value = F.binary_cross_entropy_with_logits(logits, present)
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(loss)
    slope = line[0].detach() / width
    return float(slope), float(line[1].detach() - slope * middle)


def reliability(probabilities: Tensor, targets: Tensor) -> Reliability:
    """Sort predictions into `BINS` bins of equal width, each with its upper edge.

    Args:
        probabilities: any shape, in [0, 1].
        targets: the same shape: 1 present, 0 absent, -1 unknown (left out).
    """
    known = targets != -1
    predicted, present = probabilities[known].double(), (targets[known] == 1).double()  # [K] each
    bins = (predicted * BINS).ceil().long().sub(1).clamp(0, BINS - 1)
    count = torch.bincount(bins, minlength=BINS)
    sums = [torch.bincount(bins, weights, minlength=BINS) for weights in (predicted, present)]
    return Reliability(count, *(total / count.clamp(min=1) for total in sums))


def calibration_error(probabilities: Tensor, targets: Tensor) -> float:
    """Expected calibration error in [0, 1] of all known pairs of image and class together.

    The mean over the bins of `reliability`, weighted by their predictions, of the distance between
    mean probability and share present (Naeini et al., AAAI 2015, for each class's own probability).
    NaN without any known pair.
    """
    count, predicted, present = reliability(probabilities, targets)
    return float((count * (predicted - present).abs()).sum() / count.sum())


def class_calibration_error(probabilities: Tensor, targets: Tensor) -> float:
    """Mean over the classes of each class's own `calibration_error`.

    Errors of classes in opposite directions do not cancel in it (Kull et al., NeurIPS 2019).

    Args:
        probabilities: [N, C].
        targets: [N, C]; classes without known targets are left out.
    """
    columns = zip(probabilities.T, targets.T, strict=True)
    errors = [calibration_error(p, t) for p, t in columns if (t != -1).any()]
    return sum(errors) / len(errors)
