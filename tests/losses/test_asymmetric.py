from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from losses.asymmetric import asymmetric_loss
from losses.focal import binary_cross_entropy, focal_loss
from tests.helpers.naive import naive_losses as naive

SETTINGS = [(4.0, 0.0, 0.05), (4.0, 1.0, 0.05), (2.0, 1.0, 0.2), (1.5, 0.0, 0.0)]


@pytest.mark.parametrize("reduction", ["mean", "per_image", "sum"])
@pytest.mark.parametrize("detach", [True, False])
@pytest.mark.parametrize(("gamma_neg", "gamma_pos", "clip"), SETTINGS)
@pytest.mark.parametrize("seed", range(3))
def test_equals_naive_loops_in_value_and_gradient(
    seed, gamma_neg, gamma_pos, clip, detach, reduction
):
    logits, targets, _ = naive.random_case(seed)
    entries = naive.asymmetric(logits, targets, gamma_neg, gamma_pos, clip, detach)
    expected = naive.reduced(entries, reduction, images=len(logits))
    actual = asymmetric_loss(
        logits,
        targets,
        gamma_neg=gamma_neg,
        gamma_pos=gamma_pos,
        clip=clip,
        detach_focal=detach,
        reduction=reduction,
    )
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits)
    )


@pytest.mark.parametrize("gamma_neg", [0.5, 1.0, 4.0])
def test_gradcheck_with_the_focusing_factor_inside(gamma_neg):
    logits, targets, _ = naive.random_case(1)
    # p = clip is a kink of absent entries, at z = -2.94.
    assert (logits - torch.logit(torch.tensor(0.05))).abs().min() > 1e-3
    assert gradcheck(
        lambda z: asymmetric_loss(z, targets, gamma_neg, gamma_pos=1.0, detach_focal=False), logits
    )


def test_detaching_keeps_the_value_and_changes_the_gradient():
    logits, targets, _ = naive.random_case(2)
    detached = asymmetric_loss(logits, targets, detach_focal=True)
    attached = asymmetric_loss(logits, targets, detach_focal=False)
    assert detached == attached
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in (detached, attached)]
    assert not torch.allclose(*gradients)


def test_special_cases_are_cross_entropy_and_focal_loss():
    logits, targets, _ = naive.random_case(3)
    torch.testing.assert_close(
        asymmetric_loss(logits, targets, gamma_neg=0, gamma_pos=0, clip=0),
        binary_cross_entropy(logits, targets),
    )
    torch.testing.assert_close(
        asymmetric_loss(logits, targets, gamma_neg=2, gamma_pos=2, clip=0),
        2 * focal_loss(logits, targets, alpha=0.5, gamma=2),
    )


def test_absent_classes_below_the_margin_cost_nothing():
    logits = torch.tensor([[-2.95, -2.93]], dtype=torch.float64)  # p = 0.0497, 0.0507
    entries = asymmetric_loss(logits, torch.zeros(1, 2), reduction="none")
    assert entries[0, 0] == 0
    assert entries[0, 1] > 0


@pytest.mark.parametrize("seed", range(3))
def test_difference_of_a_logit_pair_is_the_two_way_softmax_form(seed):
    """DualCoOp scores with softmax over (z-, z+); passing z+ - z- as logits is the same loss."""
    negative, targets, _ = naive.random_case(seed)
    positive, _, _ = naive.random_case(seed + 100)
    actual = asymmetric_loss(
        positive - negative, targets, gamma_neg=2, gamma_pos=1, eps=1e-6, reduction="sum"
    )
    p = torch.stack([negative, positive], dim=-1).softmax(dim=-1)[..., 1].clamp(1e-6, 1 - 1e-6)
    q = torch.clamp(1 - p + 0.05, max=1)
    present = -(1 - p).detach() * p.log()
    absent = -((1 - q).detach() ** 2) * q.log()
    expected = torch.where(targets == 1, present, absent)[targets != -1].sum()
    torch.testing.assert_close(actual, expected)
    for side in (positive, negative):
        torch.testing.assert_close(
            *(torch.autograd.grad(loss, side, retain_graph=True) for loss in (actual, expected))
        )


def test_eps_bounds_the_loss_of_a_lost_positive():
    loss = asymmetric_loss(torch.tensor([[-1000.0]]), torch.ones(1, 1))
    torch.testing.assert_close(loss, -torch.tensor(1e-8).log())


@pytest.mark.parametrize("level", [-1000.0, 0.0, 1000.0])
@pytest.mark.parametrize("clip", [0.0, 0.05])
def test_focusing_exponents_below_one_have_a_finite_gradient_everywhere(level, clip):
    logits = torch.full((1, 2), level, requires_grad=True)
    targets = torch.tensor([[1, 0]])
    asymmetric_loss(
        logits, targets, gamma_neg=0.5, gamma_pos=0.5, clip=clip, detach_focal=False
    ).backward()
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("option", [{"clip": 1.0}, {"clip": -0.1}, {"eps": 0.0}])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} must be"):
        asymmetric_loss(torch.zeros(1, 2), torch.zeros(1, 2), **option)
