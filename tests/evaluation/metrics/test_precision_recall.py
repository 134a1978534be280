from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import precision_recall_curve as sklearn_curve

from evaluation.metrics.precision_recall import CURVE_ROWS, macro_curve, precision_recall_curve


def naive(scores, targets, levels):
    """By trying every threshold, the highest first."""
    pairs = [(s, t) for s, t in zip(scores, targets, strict=True) if t >= 0]
    total = sum(t == 1 for _, t in pairs)
    columns = []
    for level in range(levels - 1, -1, -1):
        for threshold in sorted({s for s, _ in pairs}, reverse=True):
            tp = sum(s >= threshold and t == 1 for s, t in pairs)
            fp = sum(s >= threshold and t == 0 for s, t in pairs)
            if tp * (levels - 1) >= level * total:
                break
        fn, tn = total - tp, len(pairs) - total - fp
        columns.append([tp, fp, tn, fn, tp / (tp + fp), tp / total])
    return torch.tensor(columns, dtype=torch.float64).t()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("levels", [3, 11, 101])
def test_curves_against_loops(seed, levels):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 12, (40,), generator=generator).float()  # with many ties
    targets = torch.randint(-1, 2, (40,), generator=generator)
    found = precision_recall_curve(scores, targets, levels)
    expected = naive(scores.tolist(), targets.tolist(), levels)
    assert torch.allclose(found, expected)


def test_points_lie_on_scikit_learns_curve():
    generator = torch.Generator().manual_seed(0)
    scores, targets = torch.rand(200, generator=generator), torch.rand(200, generator=generator)
    targets = (targets < 0.1).long()
    curve = dict(zip(CURVE_ROWS, precision_recall_curve(scores, targets), strict=True))
    precision, recall, _ = sklearn_curve(targets.numpy(), scores.numpy())
    points = {(round(p, 9), round(r, 9)) for p, r in zip(precision, recall, strict=True)}
    pairs = zip(curve["precision"].tolist(), curve["recall"].tolist(), strict=True)
    assert {(round(p, 9), round(r, 9)) for p, r in pairs} <= points
    assert curve["recall"][0] == 1.0


def test_only_the_order_of_scores_matters():
    scores = torch.randn(50)
    targets = (torch.rand(50) < 0.3).long()
    assert torch.equal(
        precision_recall_curve(scores, targets), precision_recall_curve(scores.exp(), targets)
    )


def test_classes_without_positives_are_left_out_of_the_mean():
    scores, targets = torch.tensor([0.9, 0.5, 0.1]), torch.tensor([1, 0, 1])
    curve = precision_recall_curve(scores, targets, 5)
    empty = precision_recall_curve(scores, torch.zeros(3), 5)
    assert math.isnan(empty.sum())
    assert torch.equal(macro_curve(torch.stack([curve, empty])), curve)
    other = precision_recall_curve(scores, torch.tensor([0, 1, 1]), 5)
    assert torch.allclose(macro_curve(torch.stack([curve, empty, other])), (curve + other) / 2)
