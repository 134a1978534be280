from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from losses.class_balanced import MODES, class_balanced_loss, effective_number_weights
from losses.focal import focal_loss
from tests.helpers.naive import naive_losses as naive

NUM_TRAIN = 120


@pytest.mark.parametrize("tolerant", [False, True])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(3))
def test_equals_naive_loops_in_value_and_gradient(seed, mode, tolerant):
    logits, targets, counts = naive.random_case(seed)
    ntr = (NUM_TRAIN, 2.0, 0.05) if tolerant else None
    entries = naive.class_balanced(logits, targets, counts, 0.99, mode, ntr)

    def loss(z):
        return class_balanced_loss(
            z, targets, counts, NUM_TRAIN, beta=0.99, mode=mode, negative_tolerant=tolerant
        )

    actual, expected = loss(logits), 10 * naive.reduced(entries, "mean")
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits),
        torch.autograd.grad(expected, logits),
        rtol=1e-6,
        atol=1e-7,
    )
    assert gradcheck(loss, logits)


@pytest.mark.parametrize("mode", MODES)
def test_weights_equal_naive_loops(mode):
    targets = torch.tensor([[1, 0, 1, -1], [0, 1, 0, 0], [0, 0, -1, 0]])
    counts = [4, 775, 34, 5]
    weights = effective_number_weights(targets, counts, 0.9, mode)
    expected = [
        [naive.class_balanced_weight(row, c, counts, 0.9, mode) for c in range(4)]
        for row in targets.tolist()
    ]
    torch.testing.assert_close(weights, torch.tensor(expected))


def test_limits_of_beta():
    targets = torch.ones(1, 3)
    counts = torch.tensor([2.0, 10.0, 50.0])
    assert effective_number_weights(targets, counts, 0.0).tolist() == [[1.0, 1.0, 1.0]]
    near_one = effective_number_weights(targets, counts, 1 - 1e-7)
    torch.testing.assert_close(near_one[0], 1 / counts, rtol=1e-4, atol=0)


def test_equal_weights_give_the_focal_loss():
    logits, targets, counts = naive.random_case(1)
    torch.testing.assert_close(
        class_balanced_loss(logits, targets, counts, beta=0.0, loss_weight=1.0, alpha=0.3),
        focal_loss(logits, targets, alpha=0.3),
    )


def test_classes_without_images_stay_finite():
    logits, targets, _ = naive.random_case(2)
    for mode in MODES:
        for tolerant in (False, True):
            value = class_balanced_loss(
                *(logits, targets, [0, 0, 5, 50, 50, 1], 50),
                mode=mode,
                negative_tolerant=tolerant,
            )
            assert torch.isfinite(value)


def test_errors():
    logits, targets, counts = naive.random_case(0)
    with pytest.raises(ValueError, match="Did you mean 'average_n'"):
        class_balanced_loss(logits, targets, counts, mode="averagen")
    with pytest.raises(ValueError, match=r"beta must be in \[0, 1\), got 1"):
        class_balanced_loss(logits, targets, counts, beta=1.0)
    with pytest.raises(ValueError, match="needs num_train"):
        class_balanced_loss(logits, targets, counts, negative_tolerant=True)
