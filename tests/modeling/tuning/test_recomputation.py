from __future__ import annotations

import pytest
import torch

from modeling.tuning.recomputation import recompute_blocks
from tests.helpers.models.small_clip import RESOLUTION, random_clip
from tests.helpers.runs.tuned_towers import FITTING, let_learn, tuned


def step(kind, tower, recompute):
    """Features, gradients of what is tuned, and numbers kept for the backward pass."""
    visual = random_clip(tower).visual
    part = tuned(visual, kind)
    let_learn(part)
    if recompute:
        recompute_blocks(visual)
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    generator = torch.Generator().manual_seed(3)
    images = torch.randn(2, 3, RESOLUTION[tower], RESOLUTION[tower], generator=generator)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = visual(images)
    features.square().sum().backward()
    return features, [p.grad for p in part.parameters()], sum(kept.values())


@pytest.mark.parametrize(("kind", "tower"), FITTING)
def test_the_same_gradients_from_less_memory(kind, tower):
    (features, gradients, numbers), (expected, plain, more) = (
        step(kind, tower, recompute) for recompute in (True, False)
    )
    assert torch.allclose(features, expected, atol=1e-6)
    for one, other in zip(gradients, plain, strict=True):
        assert torch.allclose(one, other, atol=1e-5 * float(other.abs().max()) + 1e-7)
    before = kind == "lora" and tower == "RN"  # its attention pool alone learns, behind all blocks
    assert numbers == more if before else numbers < more


def test_nothing_is_recomputed_without_gradients():
    visual = random_clip().visual
    images = torch.randn(2, 3, 32, 32)
    expected = visual(images)
    recompute_blocks(visual)
    with torch.inference_mode():
        assert torch.equal(visual(images), expected)
