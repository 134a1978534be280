"""Precision, recall and F1 of thresholded predictions, per class (macro) and overall (micro).

CP, CR and CF1 average over classes, OP, OR and OF1 pool all decisions. Two definitions of CF1 are
in use: most of the field combines the means, `2 CP CR / (CP + CR)`, whereas DualCoOp and LMPT
average the F1 of each class. Both are returned.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Decisions", "decide", "log_odds", "probabilities", "threshold_metrics"]


def probabilities(logits: Tensor, softmax: bool = False) -> Tensor:
    """What a threshold is compared with: a sigmoid of each logit [N, C], or a softmax over C."""
    return logits.softmax(dim=1) if softmax else logits.sigmoid()


def log_odds(logits: Tensor, softmax: bool = False) -> Tensor:
    """log(p / (1 - p)) of `probabilities` p, [N, C], fp64, from logits [N, C].

    It orders as p does, also where p lies so near to 1 that its digits end. The log-odds of a
    sigmoid are its logits.
    """
    logits = logits.double()
    if not softmax:
        return logits
    best = logits.argmax(dim=1, keepdim=True)  # [N, 1]
    others = logits.scatter(1, best, -math.inf).logsumexp(dim=1, keepdim=True)  # [N, 1]
    logs = logits.log_softmax(dim=1)
    # 1 - p loses its digits for the best class alone, so that one is computed from the others.
    return (logs - torch.log1p(-logs.exp())).scatter(1, best, logits.gather(1, best) - others)


def decide(logits: Tensor, threshold: float, softmax: bool = False) -> Tensor:
    """Predict a class as present where its probability exceeds the threshold.

    The comparison is made on the logits, where no probability saturates.

    Args:
        logits: [N, C].
        threshold: a probability, in (0, 1).
        softmax: probabilities are a softmax over the classes instead of a sigmoid each.
    """
    if softmax:
        return F.log_softmax(logits.double(), dim=1) > math.log(threshold)
    return logits.double() > math.log(threshold) - math.log1p(-threshold)


def threshold_metrics(predictions: Tensor, targets: Tensor) -> dict[str, float]:
    """Return CP, CR, CF1, CF1_class_mean, OP, OR and OF1.

    A ratio without a denominator counts as 0: a class never predicted has precision 0, a class
    without positives recall 0, and both stay in the class means.

    Args:
        predictions: [N, C] bool.
        targets: [N, C], 1 present, 0 absent, -1 unknown (the entry is ignored).

    Returns:
        Plain floats in [0, 1].

    Raises:
        ValueError: shapes differ.
    """
    decisions = Decisions()
    decisions.count(predictions, targets)
    return decisions.metrics()


class Decisions:
    """Counts of a split's decisions, taken batch by batch.

    Attributes:
        hits: positives that were predicted, of each class [C]; as below, None before `count`.
        predicted: known entries that were predicted.
        present: positives.
        known: entries that are not unknown.
    """

    def __init__(self) -> None:
        self.hits = self.predicted = self.present = self.known = None

    def count(self, predictions: Tensor, targets: Tensor) -> None:
        """Add a batch; arguments as of `threshold_metrics`."""
        if predictions.ndim != 2 or predictions.shape != targets.shape:
            raise ValueError(
                "expected predictions and targets of one shape [N, C], "
                f"got predictions {list(predictions.shape)} and targets {list(targets.shape)}"
            )
        positives, known = targets == 1, targets != -1
        marks = (predictions & positives, predictions & known, positives, known)
        sums = [mark.sum(dim=0) for mark in marks]  # [C] each
        if self.hits is not None:
            before = (self.hits, self.predicted, self.present, self.known)
            sums = [old + new for old, new in zip(before, sums, strict=True)]
        self.hits, self.predicted, self.present, self.known = sums

    def metrics(self) -> dict[str, float]:
        """CP, CR, CF1, CF1_class_mean, OP, OR and OF1 of all that was counted, in [0, 1]."""
        hits, predicted, present = (
            counts.double() for counts in (self.hits, self.predicted, self.present)
        )
        class_precision = _ratio(hits, predicted).mean()
        class_recall = _ratio(hits, present).mean()
        precision = _ratio(hits.sum(), predicted.sum())
        recall = _ratio(hits.sum(), present.sum())
        metrics = {
            "CP": class_precision,
            "CR": class_recall,
            "CF1": _ratio(2 * class_precision * class_recall, class_precision + class_recall),
            "CF1_class_mean": _ratio(2 * hits, predicted + present).mean(),
            "OP": precision,
            "OR": recall,
            "OF1": _ratio(2 * precision * recall, precision + recall),
        }
        values = torch.stack(list(metrics.values())).tolist()  # one wait for the device
        return dict(zip(metrics, values, strict=True))


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    return torch.where(denominator > 0, numerator / denominator, 0.0)
