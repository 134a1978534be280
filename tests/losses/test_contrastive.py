from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck

from losses.contrastive import contrastive_loss
from tests.helpers.naive import naive_losses as naive

PAIRED = {
    "all": [True] * 5,
    "some": [True, False, True, True, False],
    "one": [False, True, False, False, False],
}


@pytest.mark.parametrize("there", PAIRED)
def test_equals_naive_loops_in_value_and_gradient(there):
    similarities, _, _ = naive.random_case(3, images=5, classes=5)
    paired = torch.tensor(PAIRED[there])
    actual = contrastive_loss(similarities, paired)
    expected = torch.stack(naive.contrastive(similarities, PAIRED[there])).mean()
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, similarities), torch.autograd.grad(expected, similarities)
    )
    assert gradcheck(lambda s: contrastive_loss(s, paired), similarities)
    if there == "all":
        torch.testing.assert_close(contrastive_loss(similarities), expected)


def test_without_captions_there_is_nothing_to_learn():
    similarities = torch.randn(3, 3, requires_grad=True)
    loss = contrastive_loss(similarities, torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss == 0 and not similarities.grad.any()


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match=r"must be \[B, B\], images by captions, got \[2, 3\]"):
        contrastive_loss(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"one answer for each of 3 images, got \[2\]"):
        contrastive_loss(torch.zeros(3, 3), torch.ones(2, dtype=torch.bool))
