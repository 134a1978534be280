from __future__ import annotations

import math

import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from evaluation.metrics.threshold_metrics import decide, log_odds, threshold_metrics
from tests.helpers.naive.naive_metrics import naive_threshold_metrics

KEYS = ["CP", "CR", "CF1", "CF1_class_mean", "OP", "OR", "OF1"]


@pytest.mark.parametrize("seed", range(20))
def test_equals_naive_loops_with_unknown_entries(seed):
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.rand(30, 6, generator=generator) < torch.linspace(0, 1, 6)
    targets = (torch.rand(30, 6, generator=generator) < 0.3).int()
    targets[torch.rand(30, 6, generator=generator) < 0.25] = -1
    targets[:, 4] = 0  # no positives

    metrics = threshold_metrics(predictions, targets)

    assert list(metrics) == KEYS
    assert all(type(value) is float for value in metrics.values())
    assert metrics == pytest.approx(naive_threshold_metrics(predictions.tolist(), targets.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn(seed):
    generator = torch.Generator().manual_seed(seed)
    predictions = torch.rand(40, 5, generator=generator) < 0.4
    targets = (torch.rand(40, 5, generator=generator) < 0.3).int()
    metrics = threshold_metrics(predictions, targets)

    def sklearn(average):
        return precision_recall_fscore_support(
            targets.numpy(), predictions.int().numpy(), average=average, zero_division=0
        )[:3]

    assert [metrics[k] for k in ("CP", "CR", "CF1_class_mean")] == pytest.approx(sklearn("macro"))
    assert [metrics[k] for k in ("OP", "OR", "OF1")] == pytest.approx(sklearn("micro"))


def test_the_two_definitions_of_cf1_differ():
    # Class 0: precision 1, recall 1/2. Class 1: precision 1/2, recall 1.
    predictions = torch.tensor([[1, 1], [0, 1]]).bool()
    targets = torch.tensor([[1, 1], [1, 0]])
    metrics = threshold_metrics(predictions, targets)
    assert metrics["CF1"] == pytest.approx(0.75)
    assert metrics["CF1_class_mean"] == pytest.approx(2 / 3)


def test_nothing_predicted_is_zero_not_nan():
    targets = torch.tensor([[1, 0], [0, 1]])
    metrics = threshold_metrics(torch.zeros(2, 2, dtype=torch.bool), targets)
    assert metrics == dict.fromkeys(KEYS, 0.0)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"predictions \[2, 3\] and targets \[2\]"):
        threshold_metrics(torch.zeros(2, 3, dtype=torch.bool), torch.zeros(2))


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.5, 0.9])
def test_decide_is_probability_above_threshold(threshold):
    logits = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)) * 3
    sigmoid, softmax = logits.double().sigmoid(), logits.double().softmax(dim=1)
    assert torch.equal(decide(logits, threshold), sigmoid > threshold)
    assert torch.equal(decide(logits, threshold, softmax=True), softmax > threshold)


def test_decide_survives_saturation():
    """1 - sigmoid(20) is below fp32's resolution, yet the threshold separates the logits."""
    threshold = 1 - 1e-9  # a logit of 20.7
    logits = torch.tensor([[20.0, 21.0]])
    assert logits.sigmoid().unique().numel() == 1
    assert decide(logits, threshold).tolist() == [[False, True]]


def test_probability_equal_to_threshold_is_not_above_it():
    assert decide(torch.zeros(1, 2), 0.5).tolist() == [[False, False]]


def test_a_sigmoid_of_raw_clip_logits_predicts_everything():
    logits = 20 + 10 * torch.rand(50, 5)
    assert decide(logits, 0.5).all()
    assert decide(logits, 0.5, softmax=True).sum(dim=1).max() <= 1


def test_log_odds_are_those_of_the_probabilities():
    logits = torch.randn(20, 5, generator=torch.Generator().manual_seed(0)) * 3
    torch.testing.assert_close(log_odds(logits), logits.double())
    expected = logits.double().softmax(dim=1).logit()
    torch.testing.assert_close(log_odds(logits, softmax=True), expected)


def test_log_odds_of_a_softmax_keep_their_digits_near_one():
    found = log_odds(torch.tensor([[90.0, 0.0, 1.0], [5.0, 5.0, -200.0]]), softmax=True)
    others = math.log(1 + math.e)
    assert found[0].tolist() == pytest.approx([90 - others, -90, 1 - 90], rel=1e-12)
    assert found[1].tolist() == pytest.approx([0, 0, -205 - math.log(2)], rel=1e-12, abs=1e-12)
