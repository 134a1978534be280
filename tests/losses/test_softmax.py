from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from losses import softmax_cross_entropy


@pytest.fixture
def logits():
    return (5 * torch.randn(6, 4, dtype=torch.float64)).requires_grad_()


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_one_label_is_pytorchs_cross_entropy(logits, reduction):
    labels = torch.tensor([0, 3, 1, 1, 2, 0])
    ours = softmax_cross_entropy(logits, F.one_hot(labels, 4), reduction)
    theirs = F.cross_entropy(logits, labels, reduction=reduction)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours.sum(), logits), gradient(theirs.sum(), logits))


def test_several_labels_share_the_probability(logits):
    targets = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1]] + [[0, 0, 0, 1]] * 4)
    shares = targets / targets.sum(dim=1, keepdim=True)
    ours = softmax_cross_entropy(logits, targets)
    theirs = F.cross_entropy(logits, shares.double())
    torch.testing.assert_close(ours, theirs)


def test_unknown_classes_do_not_compete(logits):
    targets = torch.tensor([[0, 1, -1, -1]] * 6)
    ours = softmax_cross_entropy(logits, targets)
    theirs = F.cross_entropy(logits[:, :2], torch.ones(6, dtype=torch.long))
    torch.testing.assert_close(ours, theirs)
    assert (gradient(ours, logits)[:, 2:] == 0).all()


def test_images_without_a_present_class_count_nothing(logits):
    targets = torch.zeros(6, 4)
    targets[0, 2] = 1
    targets[5] = -1
    ours = softmax_cross_entropy(logits, targets)
    torch.testing.assert_close(ours, F.cross_entropy(logits[:1], torch.tensor([2])))
    nothing = softmax_cross_entropy(logits, torch.full((6, 4), -1))
    assert nothing == 0 and (gradient(nothing, logits) == 0).all()
