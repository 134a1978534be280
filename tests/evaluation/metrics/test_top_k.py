"""Metrics of the k highest classes."""

from __future__ import annotations

import pytest
import torch

from evaluation.metrics.scored_images import ScoredImages
from evaluation.metrics.top_k import top_k_metrics
from tests.helpers.naive.naive_metrics import naive_threshold_metrics


@pytest.mark.parametrize("k", [1, 3, 6])
def test_like_decisions_made_one_by_one(k):
    logits = torch.randn(40, 6)
    targets = torch.randint(-1, 2, (40, 6))
    decisions = [
        [sum(other > score for other in row) < k for score in row] for row in logits.tolist()
    ]
    naive = naive_threshold_metrics(decisions, targets.tolist())
    expected = {
        f"{name}_top{k}": pytest.approx(100 * naive[name])
        for name in ("CP", "CR", "CF1", "OP", "OR", "OF1")
    }
    assert top_k_metrics(ScoredImages([(logits, targets)]), k) == expected


def test_by_hand():
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
    targets = torch.tensor([[1, 0, 1], [0, 0, 1]])
    metrics = top_k_metrics(ScoredImages([(logits, targets)]), 2, suffix="_zsl")
    assert metrics["OP_top2_zsl"] == 50
    assert metrics["OR_top2_zsl"] == pytest.approx(100 * 2 / 3)
    assert metrics["OF1_top2_zsl"] == pytest.approx(100 * 4 / 7)


def test_more_than_there_are():
    with pytest.raises(ValueError, match="TEST.TOP_K has 4, expected at most the 3 classes"):
        top_k_metrics(ScoredImages([(torch.randn(2, 3), torch.ones(2, 3))]), 4)
