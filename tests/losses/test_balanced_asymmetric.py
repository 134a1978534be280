from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from losses.balanced_asymmetric import balanced_asymmetric_loss
from losses.focal import binary_cross_entropy
from tests.helpers.naive import naive_losses as naive

SETTINGS = [  # power, smoothing, gamma_neg, gamma_pos, clip
    (0.7, 0.01, 12.0, 0.0, 0.05),
    (1.35, 0.1, 9.8, 0.0, 0.05),
    (0.0, 0.3, 2.0, 1.0, 0.2),
    (1.0, 0.0, 0.5, 0.0, 0.0),
]


@pytest.mark.parametrize("reduction", ["mean", "per_image", "sum"])
@pytest.mark.parametrize(("power", "smoothing", "gamma_neg", "gamma_pos", "clip"), SETTINGS)
@pytest.mark.parametrize("spread", [0.1, 3.0])  # below and above the smallest divisor, 1
@pytest.mark.parametrize("seed", range(2))
def test_equals_naive_loops_in_value_and_gradient(
    seed, spread, power, smoothing, gamma_neg, gamma_pos, clip, reduction
):
    logits, targets, counts = naive.random_case(seed, spread=spread)
    assert bool(logits[targets != -1].max() > 1) is (spread == 3.0)
    options = (power, smoothing, gamma_neg, gamma_pos, clip)
    entries = naive.balanced_asymmetric(logits, targets, counts, *options)
    expected = naive.reduced(entries, reduction, images=len(logits))
    actual = balanced_asymmetric_loss(logits, targets, counts, *options, reduction=reduction)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits)
    )


def test_gradcheck_with_focus_and_largest_logit_inside():
    logits, targets, counts = naive.random_case(1)
    assert gradcheck(lambda z: balanced_asymmetric_loss(z, targets, counts, gamma_neg=3.0), logits)


def test_without_its_parts_it_is_cross_entropy_of_the_scaled_logits():
    logits, targets, counts = naive.random_case(2)
    plain = balanced_asymmetric_loss(logits, targets, counts, 0.0, 0.0, 0.0, 0.0, 0.0)
    scaled = logits / logits[targets != -1].max()
    # Weights 1 + w are 2 for every class where the power is 0; absent entries have none.
    entries = binary_cross_entropy(scaled, targets, reduction="none")
    expected = torch.where(targets == 1, 2 * entries, entries)[targets != -1].mean()
    torch.testing.assert_close(plain, expected)


def test_the_rarest_class_weighs_most_and_the_number_of_images_does_not_matter():
    logits = torch.zeros(1, 3, dtype=torch.float64)
    entries, same = (
        balanced_asymmetric_loss(
            logits, torch.ones(1, 3), [scale * n for n in (40, 2, 10)], reduction="none"
        )[0]
        for scale in (1, 7)
    )
    torch.testing.assert_close(entries, same)
    assert entries[1] > entries[2] > entries[0]
    torch.testing.assert_close(entries[1] / entries[0], torch.tensor(2 / 1.05).double())


@pytest.mark.parametrize("level", [-1000.0, 0.0, 1000.0])
def test_gradients_are_finite_everywhere(level):
    """At -1000 q is 1 and what the exponent applies to would be below 0."""
    logits = torch.tensor([[level, 0.5], [level, level]], requires_grad=True)
    targets = torch.tensor([[1, 0], [0, -1]])
    loss = balanced_asymmetric_loss(logits, targets, [3, 4], gamma_neg=0.5, gamma_pos=0.5)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert logits.grad[1, 1] == 0


def test_unknown_everywhere_costs_nothing():
    assert balanced_asymmetric_loss(torch.ones(2, 2), -torch.ones(2, 2), [1, 2]) == 0
