"""The metrics again, by plain loops over images and thresholds: slow twins for the tests."""

from __future__ import annotations

import math


def naive_average_precision(scores, targets):
    """AP of one class: walk down the distinct scores, add up precision times recall step."""
    known = [(s, t) for s, t in zip(scores, targets, strict=True) if t != -1]
    positives = sum(1 for _, t in known if t == 1)
    if positives == 0:
        return math.nan
    total, recall_before = 0.0, 0.0
    for threshold in sorted({s for s, _ in known}, reverse=True):
        retrieved = [t for s, t in known if s >= threshold]
        hits = sum(1 for t in retrieved if t == 1)
        recall = hits / positives
        total += (recall - recall_before) * hits / len(retrieved)
        recall_before = recall
    return total


def naive_threshold_metrics(predictions, targets):
    """CP CR CF1 CF1_class_mean OP OR OF1 from nested lists [N][C], decision by decision."""
    counts = [[0, 0, 0] for _ in predictions[0]]  # hits, predicted, present of each class
    for row, truth in zip(predictions, targets, strict=True):
        for c, (predicted, target) in enumerate(zip(row, truth, strict=True)):
            if target == -1:
                continue
            counts[c][0] += bool(predicted) and target == 1
            counts[c][1] += bool(predicted)
            counts[c][2] += target == 1

    def ratio(a, b):
        return a / b if b else 0.0

    def f1(p, r):
        return ratio(2 * p * r, p + r)

    per_class = [(ratio(h, p), ratio(h, n)) for h, p, n in counts]
    cp = sum(p for p, _ in per_class) / len(per_class)
    cr = sum(r for _, r in per_class) / len(per_class)
    hits, predicted, present = (sum(column) for column in zip(*counts, strict=True))
    op, recall = ratio(hits, predicted), ratio(hits, present)
    return {
        "CP": cp,
        "CR": cr,
        "CF1": f1(cp, cr),
        "CF1_class_mean": sum(f1(p, r) for p, r in per_class) / len(per_class),
        "OP": op,
        "OR": recall,
        "OF1": f1(op, recall),
    }
