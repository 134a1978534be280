"""Binary cross-entropy and focal loss, and what all losses share: checks, masks, reductions."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck

from losses import LOSSES, build_loss
from losses.focal import binary_cross_entropy, focal_loss
from tests.helpers.naive import naive_losses as naive


@pytest.mark.parametrize("reduction", ["mean", "per_image", "sum"])
@pytest.mark.parametrize("seed", range(4))
def test_cross_entropy_equals_naive_loops(seed, reduction):
    logits, targets, _ = naive.random_case(seed)
    expected = naive.reduced(naive.bce(logits, targets), reduction, images=len(logits))
    actual = binary_cross_entropy(logits, targets, reduction)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits)
    )


def test_cross_entropy_equals_pytorch_and_multi_label_soft_margin():
    logits, targets, _ = naive.random_case(7, unknown=False)
    ours = binary_cross_entropy(logits, targets)
    torch.testing.assert_close(ours, F.binary_cross_entropy_with_logits(logits, targets.double()))
    torch.testing.assert_close(ours, F.multilabel_soft_margin_loss(logits, targets.double()))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.5, 2.0), (0.25, 2.0), (0.9, 0.5), (0.5, 0.0)])
@pytest.mark.parametrize("seed", range(3))
def test_focal_equals_naive_loops(seed, alpha, gamma):
    logits, targets, _ = naive.random_case(seed)
    expected = naive.reduced(naive.focal(logits, targets, alpha, gamma), "mean")
    actual = focal_loss(logits, targets, alpha, gamma)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits)
    )
    assert gradcheck(lambda z: focal_loss(z, targets, alpha, gamma), logits)


def test_focal_without_focus_is_half_of_cross_entropy():
    logits, targets, _ = naive.random_case(1)
    torch.testing.assert_close(
        focal_loss(logits, targets, alpha=0.5, gamma=0.0),
        0.5 * binary_cross_entropy(logits, targets),
    )


@pytest.fixture(params=LOSSES)
def loss(request):
    return build_loss(request.param, [3, 40, 1, 0, 25, 7], 50)


def test_every_loss_leaves_its_inputs_alone_and_passes_gradcheck(loss):
    # The focusing weight of "asl" is out of the gradient, so that its slope is not the slope of
    # its value; test_asymmetric checks it with the weight inside.
    logits, targets, _ = naive.random_case(3)
    logits_before, targets_before = logits.detach().clone(), targets.clone()
    loss(logits, targets).backward()
    assert torch.equal(logits, logits_before)
    assert torch.equal(targets, targets_before)
    assert logits.grad.abs().sum() > 0
    if loss.func.__name__ != "asymmetric_loss":
        assert gradcheck(lambda z: loss(z, targets), logits)


def test_unknown_entries_change_neither_value_nor_gradient(loss):
    logits, targets, _ = naive.random_case(5)
    unknown = targets == -1
    assert unknown.any()
    value = loss(logits, targets)
    (gradient,) = torch.autograd.grad(value, logits)
    assert (gradient[unknown] == 0).all()
    poisoned = logits.detach().masked_fill(unknown, float("nan")).requires_grad_()
    torch.testing.assert_close(loss(poisoned, targets), value)
    torch.testing.assert_close(torch.autograd.grad(loss(poisoned, targets), poisoned)[0], gradient)


def test_all_unknown_is_zero_with_zero_gradient(loss):
    logits, targets, _ = naive.random_case(2)
    value = loss(logits, torch.full_like(targets, -1))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.item() == 0.0
    assert (gradient == 0).all()


def test_fully_unknown_images_do_not_dilute_the_mean(loss):
    logits, targets, _ = naive.random_case(4, unknown=False)
    extra = torch.full_like(targets, -1)
    torch.testing.assert_close(
        loss(torch.cat([logits, logits]), torch.cat([targets, extra])), loss(logits, targets)
    )


@pytest.mark.parametrize("extreme", [1000.0, -1000.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_extreme_logits_are_finite_in_every_precision(loss, extreme, dtype):
    _, targets, _ = naive.random_case(6)
    logits = torch.full(targets.shape, extreme, dtype=dtype, requires_grad=True)
    value = loss(logits, targets)
    value.backward()
    assert value.dtype == torch.float32
    assert torch.isfinite(value)
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_computed_in_float32(loss, dtype):
    logits, targets, _ = naive.random_case(8)
    low = logits.detach().to(dtype)
    torch.testing.assert_close(loss(low, targets), loss(low.float(), targets), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8, torch.int64, torch.float16])
def test_targets_of_any_type(loss, dtype):
    logits, targets, _ = naive.random_case(9)
    torch.testing.assert_close(loss(logits, targets.to(dtype)), loss(logits, targets))


def test_boolean_targets(loss):
    logits, targets, _ = naive.random_case(9, unknown=False)
    torch.testing.assert_close(loss(logits, targets.bool()), loss(logits, targets))


@pytest.mark.parametrize("images", [1, 3, 0])
def test_any_last_batch(loss, images):
    logits, targets, _ = naive.random_case(10)
    assert torch.isfinite(loss(logits[:images], targets[:images]))


def test_reduction_none_has_the_entries_of_sum(loss):
    logits, targets, _ = naive.random_case(11)
    each = loss(logits, targets, reduction="none")
    torch.testing.assert_close(each.sum(), loss(logits, targets, reduction="sum"))
    if each.ndim == 2:
        assert (each[targets == -1] == 0).all()
        known = (targets != -1).sum()
        torch.testing.assert_close(each.sum() / known, loss(logits, targets))


def test_errors_name_what_was_expected_and_what_came(loss):
    logits, targets, _ = naive.random_case(0)
    with pytest.raises(ValueError, match=r"must both be \[B, C\], got \[5, 6\] and \[5\]"):
        loss(logits, targets[:, 0])
    with pytest.raises(ValueError, match=r"got \[5, 6\] and \[4, 6\]"):
        loss(logits, targets[:4])
    with pytest.raises(TypeError, match="logits must be floating point, got torch.int64"):
        loss(targets, targets)
    with pytest.raises(ValueError, match=r"targets must be 1 .* got \[3\]"):
        loss(logits, targets.clone().fill_(3))
    with pytest.raises(ValueError, match="Did you mean 'mean'"):
        loss(logits, targets, reduction="meen")
