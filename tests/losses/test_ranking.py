from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from losses.ranking import ranking_loss
from tests.helpers.naive import naive_losses as naive


@pytest.mark.parametrize("margin", [1.0, 0.25])
@pytest.mark.parametrize("seed", range(5))
def test_equals_naive_loops_in_value_and_gradient(seed, margin):
    logits, targets, _ = naive.random_case(seed)
    per_image = torch.stack(naive.ranking(logits, targets, margin))
    torch.testing.assert_close(ranking_loss(logits, targets, margin, "none"), per_image)
    torch.testing.assert_close(ranking_loss(logits, targets, margin, "sum"), per_image.sum())
    actual, expected = ranking_loss(logits, targets, margin), per_image.mean()
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(
        torch.autograd.grad(actual, logits), torch.autograd.grad(expected, logits)
    )
    assert gradcheck(lambda z: ranking_loss(z, targets, margin), logits)


def test_offset_of_an_image_changes_nothing():
    logits, targets, _ = naive.random_case(1)
    offsets = torch.randn(5, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(
        ranking_loss(logits + 10 * offsets, targets), ranking_loss(logits, targets)
    )


def test_ranked_images_and_images_without_pairs_cost_nothing():
    logits = torch.tensor([[5.0, 3.9, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0]])
    targets = torch.tensor([[1, 0, 0], [1, 1, 1], [0, 0, 0]])
    assert ranking_loss(logits, targets).item() == 0.0


def test_one_buffer_of_pairs():
    """At most one [B, C, C] tensor is created; masks and zeros of that size are not."""

    class PairTensors(TorchDispatchMode):
        storages: set[int] = set()
        kept: list[torch.Tensor] = []

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and result.numel() == 5 * 6 * 6:
                self.storages.add(result.untyped_storage().data_ptr())
                self.kept.append(result)  # keeps addresses from being used twice
            return result

    logits, targets, _ = naive.random_case(2)
    with PairTensors() as pairs:
        ranking_loss(logits, targets)
    assert len(pairs.storages) == 1
