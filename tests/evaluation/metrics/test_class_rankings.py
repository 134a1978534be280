from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.class_rankings import ClassRankings

N, C, R = 60, 5, 40


@pytest.fixture
def case():
    """Many equal scores, unknown entries, a class without positives, one with a single one."""
    rng = torch.Generator().manual_seed(0)
    scores = torch.randn(N, C, generator=rng).mul(2).round()
    targets = (torch.rand(N, C, generator=rng) < 0.2).long()
    targets[torch.rand(N, C, generator=rng) < 0.1] = -1
    targets[:, 3:] = 0
    targets[7, 4] = 1
    counts = np.random.default_rng(0).multinomial(N, [1 / N] * N, size=R).T  # [N, R]
    return scores, targets, torch.from_numpy(counts)


def test_weights_are_copies_of_images(case):
    scores, targets, counts = case
    found = ClassRankings(scores, targets).average_precision(counts.float())
    assert found.shape == (R, C) and found.dtype == torch.float64
    for weights, row in zip(counts.T, found, strict=True):
        copied = (x.repeat_interleave(weights, dim=0) for x in (scores, targets))
        expected = average_precision(*copied)
        torch.testing.assert_close(row, expected, equal_nan=True, rtol=0, atol=1e-12)
    assert found[:, 3].isnan().all() and 0 < found[:, 4].isnan().sum() < R


def test_weights_are_scikit_learns(case):
    scores, targets, counts = case
    weights = counts.double() + 0.5  # any weights, not counts alone
    found = ClassRankings(scores, targets).average_precision(weights.float())
    for c in range(3):
        known = targets[:, c] != -1
        columns = (targets[known, c] == 1, scores[known, c])
        for r in range(0, R, 8):
            expected = average_precision_score(*columns, sample_weight=weights[known, r])
            assert found[r, c].item() == pytest.approx(expected, abs=1e-6)


def test_only_distinct_scores_of_positives_are_thresholds(case):
    scores, targets, _ = case
    expected = [len(s[t == 1].unique()) for s, t in zip(scores.T, targets.T, strict=True)]
    assert ClassRankings(scores, targets).thresholds == expected


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(ValueError, match="at least one positive target"):
        ClassRankings(torch.zeros(3, 2), torch.zeros(3, 2))
    with pytest.raises(ValueError, match="NaN"):
        ClassRankings(torch.full((3, 2), torch.nan), torch.ones(3, 2))
