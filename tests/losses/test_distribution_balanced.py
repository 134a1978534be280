from __future__ import annotations

import itertools

import pytest
import torch
from torch.autograd import gradcheck

from losses.distribution_balanced import (
    class_bias,
    distribution_balanced_loss,
    rebalance_weights,
)
from losses.focal import binary_cross_entropy
from tests.helpers.naive import naive_losses as naive

NUM_TRAIN = 120


@pytest.mark.parametrize("variant", ["paper", "official", "lmpt"])
@pytest.mark.parametrize(
    ("rebalance", "tolerant", "focal"), list(itertools.product([True, False], repeat=3))
)
@pytest.mark.parametrize("seed", range(2))
def test_equals_naive_loops_in_value_and_gradient(seed, rebalance, tolerant, focal, variant):
    logits, targets, counts = naive.random_case(seed)
    entries = naive.distribution_balanced(
        logits,
        targets,
        counts,
        NUM_TRAIN,
        variant,
        mu=0.2,
        neg_scale=2.0,
        rebalance=rebalance,
        negative_tolerant=tolerant,
        focal_part=focal,
    )

    def loss(z):
        return distribution_balanced_loss(
            z,
            targets,
            counts,
            NUM_TRAIN,
            variant,
            mu=0.2,
            neg_scale=2.0,
            rebalance=rebalance,
            negative_tolerant=tolerant,
            focal=focal,
        )

    actual, expected = loss(logits), naive.reduced(entries, "mean")
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits),
        torch.autograd.grad(expected, logits),
        rtol=1e-6,
        atol=1e-7,
    )
    assert gradcheck(loss, logits)


def test_without_its_parts_it_is_cross_entropy():
    logits, targets, counts = naive.random_case(3)
    plain = distribution_balanced_loss(
        *(logits, targets, counts, NUM_TRAIN), rebalance=False, negative_tolerant=False, focal=False
    )
    torch.testing.assert_close(plain, binary_cross_entropy(logits, targets))


def test_weights_of_an_image_with_a_cow_and_a_person():
    """Published counts: cow 4, person 775, absent sheep 5; VOC-LT's mu of 0.3."""
    targets = torch.zeros(1, 20)
    targets[0, [naive.COW, naive.PERSON]] = 1
    classes = [naive.COW, naive.PERSON, naive.SHEEP]
    weights = rebalance_weights(targets, naive.VOC_COUNTS, alpha=0.1, beta=10.0, mu=0.3)
    expected = torch.tensor([1.09904, 0.14980, 1.09303])
    torch.testing.assert_close(weights[0, classes], expected, rtol=0, atol=5e-6)
    ratios = 0.3 + torch.logit(weights[0, classes].double() - 0.1) / 10
    expected = torch.tensor([0.99487, 0.00513, 0.79589], dtype=torch.float64)
    torch.testing.assert_close(ratios, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("counts", "num_train", "neg_scale", "low", "high"),
    [
        (naive.VOC_COUNTS, naive.VOC_TRAIN, 5.0, -0.05651, 0.00748),
        (naive.COCO_COUNTS, naive.COCO_TRAIN, 2.0, -0.14399, 0.00919),
    ],
)
def test_range_of_the_official_bias(counts, num_train, neg_scale, low, high):
    bias = class_bias(counts, num_train, 0.05, divisor=neg_scale)
    assert bias.min().item() == pytest.approx(low, abs=5e-6)
    assert bias.max().item() == pytest.approx(high, abs=5e-6)
    assert bias.argmax().item() == torch.tensor(counts).argmax().item()
    paper = class_bias(counts, num_train, 0.05)
    torch.testing.assert_close(paper, neg_scale * bias)


def test_unknown_counts_as_absent_in_the_weights():
    targets = torch.tensor([[1, -1, 0], [1, 0, 0]])
    weights = rebalance_weights(targets, [5, 2, 9])
    torch.testing.assert_close(weights[0], weights[1])


def test_image_without_a_present_class_takes_the_limit():
    weights = rebalance_weights(torch.tensor([[0, 0, -1]]), [5, 2, 9], alpha=0.1)
    torch.testing.assert_close(weights, torch.full((1, 3), 1.1))
    flat = rebalance_weights(torch.tensor([[0, 0, -1]]), [5, 2, 9], alpha=0.1, beta=0.0)
    torch.testing.assert_close(flat, torch.full((1, 3), 0.6))


@pytest.mark.parametrize("variant", ["paper", "official", "lmpt"])
def test_classes_in_no_image_and_in_every_image_stay_finite(variant):
    logits, targets, _ = naive.random_case(4)
    counts = [0, 0, 5, 50, 50, 1]
    value = distribution_balanced_loss(logits, targets, counts, 50, variant)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()
    ones = distribution_balanced_loss(logits, targets, [1, 1, 5, 49, 49, 1], 50, variant)
    # Counts of the weights are bounded from below only.
    assert ones.item() == pytest.approx(value.item(), rel=1e-2)


@pytest.mark.parametrize("variant", ["paper", "official", "lmpt"])
def test_focusing_exponents_below_one_have_a_finite_gradient_everywhere(variant):
    _, targets, counts = naive.random_case(6)
    right = 1000.0 * (2 * (targets == 1) - 1)
    for level in (right, -right, torch.zeros_like(right)):
        logits = level.requires_grad_()
        distribution_balanced_loss(
            logits, targets, counts, NUM_TRAIN, variant, focal_gamma=0.5
        ).backward()
        assert torch.isfinite(logits.grad).all()


def test_official_and_lmpt_agree_when_saturated_and_differ_near_zero():
    noise, targets, _ = naive.random_case(5, images=64, classes=20, unknown=False, spread=1.0)

    def both(level):
        logits = level + noise.detach()
        return [
            distribution_balanced_loss(
                logits, targets, naive.VOC_COUNTS, naive.VOC_TRAIN, variant
            ).item()
            for variant in ("official", "lmpt")
        ]

    official, lmpt = both(20.0)
    assert official == pytest.approx(lmpt, rel=1e-6)
    official, lmpt = both(0.0)
    assert abs(official - lmpt) > 0.03 * official


def test_small_bias_survives_half_precision_logits():
    """In fp16, 20 + 0.00748 is 20 again; the loss must add the bias of person in fp32."""
    targets = torch.zeros(1, 20)
    logits = torch.full((1, 20), 20.0, dtype=torch.float16)
    person = (slice(None), naive.PERSON)

    def entry(init_bias):
        return distribution_balanced_loss(
            *(logits, targets, naive.VOC_COUNTS, naive.VOC_TRAIN),
            init_bias=init_bias,
            focal=False,
            reduction="none",
        )[person]

    assert entry(0.05) - entry(0.0) == pytest.approx(1.1 * 0.00748, rel=1e-2)


def test_errors():
    logits, targets, counts = naive.random_case(0)
    call = distribution_balanced_loss
    with pytest.raises(ValueError, match="Did you mean 'official'"):
        call(logits, targets, counts, NUM_TRAIN, "oficial")
    with pytest.raises(ValueError, match="use reduction 'mean' or variant 'official'"):
        call(logits, targets, counts, NUM_TRAIN, "lmpt", reduction="sum")
    with pytest.raises(ValueError, match="pass the number of training images"):
        call(logits, targets, [5, 5, 5, 5, 5, 99], 18)
    with pytest.raises(ValueError, match=r"one number per class, \[6\], got \[5\]"):
        call(logits, targets, counts[:5], NUM_TRAIN)
    with pytest.raises(ValueError, match="at least 2"):
        class_bias([1, 1], 1)
