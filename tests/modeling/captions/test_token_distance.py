"""Distances between captions and prompt contexts of ``modeling/captions/token_distance.py``."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import gradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from modeling.captions.token_distance import (
    aligned_distance,
    constant_distance,
    pooled_distance,
)
from tests.helpers.naive import naive_losses as naive


@pytest.mark.parametrize("reduce", ["mean", "sum"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_fused_distance_equals_the_expanded_form(seed, masked, reduce):
    captions, contexts, mask = naive.embedding_case(seed)
    captions.requires_grad_()
    mask = mask if masked else None
    actual = aligned_distance(captions, contexts, mask, reduce)
    expected = naive.expanded_distance(captions, contexts, mask, reduce)
    torch.testing.assert_close(actual, expected)
    probe = torch.randn(actual.shape, generator=torch.Generator().manual_seed(9)).double()
    for leaf in (captions, contexts):
        gradients = [
            torch.autograd.grad((probe * distance).sum(), leaf, retain_graph=True)[0]
            for distance in (actual, expected)
        ]
        torch.testing.assert_close(*gradients)
    assert gradcheck(lambda c: aligned_distance(captions.detach(), c, mask, reduce), contexts)


@pytest.mark.parametrize("seed", range(2))
def test_distance_at_clip_size_in_float32(seed):
    captions, contexts, mask = naive.embedding_case(
        seed, images=3, classes=4, positions=75, width=512
    )
    expected = naive.expanded_distance(captions, contexts, mask, "sum").detach()
    actual = aligned_distance(captions.float(), contexts.detach().float(), mask, "sum")
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual.double(), expected, rtol=0, atol=5e-5)


def test_no_expanded_tensor_is_made():
    """The release makes [B, C, P, E] tensors; the largest one here is captions or contexts."""

    class Largest(TorchDispatchMode):
        elements = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            for tensor in result if isinstance(result, tuple | list) else [result]:
                if isinstance(tensor, torch.Tensor):
                    self.elements = max(self.elements, tensor.numel())
            return result

    captions, contexts, mask = naive.embedding_case(0, images=8, classes=7, positions=5, width=6)

    def largest(distance):
        with Largest() as mode:
            distance(captions, contexts, mask, "sum").sum().backward()
        return mode.elements

    assert largest(aligned_distance) == 8 * 5 * 6
    assert largest(naive.expanded_distance) == 8 * 7 * 5 * 6


def test_autocast_does_not_touch_the_distance():
    captions, contexts, mask = naive.embedding_case(1, width=64)
    captions, contexts = captions.float(), contexts.detach().float()
    expected = aligned_distance(captions, contexts, mask)
    with torch.autocast("cpu", torch.bfloat16):
        actual = aligned_distance(captions, contexts, mask)
    assert torch.equal(actual, expected)


def test_half_precision_captions_meet_full_precision_contexts():
    """Caption embeddings may be stored in 16 bit; the distance is computed in float32."""
    captions, contexts, mask = naive.embedding_case(1, width=64)
    stored, contexts = captions.half(), contexts.detach().float()
    actual = aligned_distance(stored, contexts, mask)
    torch.testing.assert_close(actual, aligned_distance(stored.float(), contexts, mask))
    assert actual.dtype == torch.float32


def test_masked_positions_may_hold_anything_and_empty_captions_are_at_distance_zero():
    captions, contexts, mask = naive.embedding_case(2)
    mask[1] = False
    expected = aligned_distance(captions, contexts, mask)
    actual = aligned_distance(captions.masked_fill(~mask[..., None], float("nan")), contexts, mask)
    torch.testing.assert_close(actual, expected)
    assert (actual[1] == 0).all()
    (gradient,) = torch.autograd.grad(actual.sum(), contexts)
    assert torch.isfinite(gradient).all()


def test_pooled_distance_is_one_minus_cosine():
    captions, contexts, _ = naive.embedding_case(3)
    captions, contexts = captions[:, 0], contexts[:, 0]
    expected = 1 - torch.cosine_similarity(captions[:, None], contexts[None], dim=-1)
    torch.testing.assert_close(pooled_distance(captions, contexts), expected)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("chunk_size", [2, 256])
def test_constant_table_plus_trainable_part_equals_the_whole(chunk_size, masked):
    """The image-free part: 5 captions, 3 of 7 prompt positions trainable, gathered per batch."""
    captions, contexts, mask = naive.embedding_case(4, images=5, positions=7)
    mask = mask if masked else None
    trainable = torch.tensor([False, True, True, True, False, False, False])
    table = constant_distance(captions, contexts, trainable, mask, chunk_size)
    assert table.shape == (5, 3)
    assert not table.requires_grad
    rows = torch.tensor([3, 0, 4])
    batch_mask = None if mask is None else mask[rows][:, trainable]
    fast = (
        aligned_distance(
            captions[rows][:, trainable], contexts[:, trainable], batch_mask, reduce="sum"
        )
        + table[rows]
    )
    slow = naive.expanded_distance(
        captions[rows], contexts, None if mask is None else mask[rows], "sum"
    )
    torch.testing.assert_close(fast, slow)
    gradients = [torch.autograd.grad(d.square().sum(), contexts)[0] for d in (fast, slow)]
    torch.testing.assert_close(gradients[0][:, trainable], gradients[1][:, trainable])
    assert (gradients[0][:, ~trainable] == 0).all()


def test_errors():
    captions, contexts, mask = naive.embedding_case(0)
    with pytest.raises(ValueError, match="cut both to the same positions"):
        aligned_distance(captions, contexts[:, :4], mask)
    with pytest.raises(ValueError, match=r"must be \[B, P, E\]"):
        aligned_distance(captions[0], contexts)
    with pytest.raises(ValueError, match=r"mask must be \[B, P\] = \[4, 5\], got \[4, 4\]"):
        aligned_distance(captions, contexts, mask[:, :4])
    with pytest.raises(ValueError, match="mean or sum, got 'maen'"):
        aligned_distance(captions, contexts, reduce="maen")
    with pytest.raises(ValueError, match=r"captions must be \[B, E\]"):
        pooled_distance(captions, contexts[:, 0])
    with pytest.raises(ValueError, match=r"trainable must be \[P\] = \[5\]"):
        constant_distance(captions, contexts, torch.ones(4, dtype=torch.bool))
