"""Figures of seen and unseen classes."""

from __future__ import annotations

import pytest
import torch

from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.scored_images import ScoredImages
from evaluation.metrics.unseen_classes import unseen_metrics
from evaluation.results.saved_scores import rank_scores
from tests.helpers.naive.naive_metrics import naive_average_precision, naive_threshold_metrics

SEEN = [True, False, True, False]


def naive_map(scores, targets) -> float:
    columns = zip(zip(*scores, strict=True), zip(*targets, strict=True), strict=True)
    values = [naive_average_precision(s, t) for s, t in columns if 1 in t]
    return 100 * sum(values) / len(values)


def columns(rows, wanted: bool):
    return [[v for v, s in zip(row, SEEN, strict=True) if s == wanted] for row in rows]


@pytest.mark.parametrize("space", ["logit", "softmax"])
def test_like_loops(space):
    logits = torch.randn(30, 4)
    targets = (torch.rand(30, 4) < 0.3).long()
    ranks = rank_scores(logits, space)
    scored, precisions = ScoredImages([(logits, targets)]), average_precision(ranks, targets)
    found = unseen_metrics(scored, precisions, SEEN, space, (1, 3))
    ranks = ranks.tolist()
    truth = targets.tolist()
    assert found["mAP_seen"] == pytest.approx(naive_map(columns(ranks, True), columns(truth, True)))
    assert found["mAP_unseen"] == pytest.approx(
        naive_map(columns(ranks, False), columns(truth, False))
    )
    rows = [i for i, row in enumerate(columns(truth, False)) if 1 in row]
    own = [columns(logits.tolist(), False)[i] for i in rows]
    own_truth = [columns(truth, False)[i] for i in rows]
    if space == "softmax":  # over the unseen classes alone
        own = torch.tensor(own).log_softmax(dim=1).tolist()
    assert found["mAP_zsl"] == pytest.approx(naive_map(own, own_truth), rel=1e-5)
    naive = naive_threshold_metrics([[a > b, b > a] for a, b in own], own_truth)
    assert found["OF1_top1_zsl"] == pytest.approx(100 * naive["OF1"])
    assert not any("top3" in name for name in found)  # there are two


def test_a_split_without_unseen_classes():
    targets = torch.tensor([[1, -1, 0, -1], [0, -1, 1, -1]])
    logits = torch.randn(2, 4)
    scored = ScoredImages([(logits, targets)])
    found = unseen_metrics(scored, average_precision(logits, targets), SEEN, "logit", (1,))
    assert list(found) == ["mAP_seen"]
