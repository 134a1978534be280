from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from modeling.encoders.dense_image_encoder import DenseImageEncoder
from modeling.tuning.visual_prompts import VisualPrompts
from tests.helpers.models.small_clip import random_clip


def concatenated(visual: nn.Module, prompts: Tensor, images: Tensor) -> Tensor:
    """The paper's forward pass: [class token, prompts, patches] through every block.

    Args:
        visual: a vision transformer without hooks.
        prompts: [blocks or 1, T, W]; a block's own replace what the block before made of them.
        images: [B, 3, H, W].
    """
    patches = visual.conv1(images).flatten(2).transpose(1, 2)
    first = visual.class_embedding.expand(len(images), 1, -1)
    x = visual.ln_pre(torch.cat([first, patches], dim=1) + visual.positional_embedding)
    count = prompts.shape[1]
    x = torch.cat([x[:, :1], prompts[0].expand(len(images), -1, -1), x[:, 1:]], dim=1)
    for index, block in enumerate(visual.transformer.resblocks):
        if 0 < index < len(prompts):
            own = prompts[index].expand(len(images), -1, -1)
            x = torch.cat([x[:, :1], own, x[:, 1 + count :]], dim=1)
        x = block(x.transpose(0, 1)).transpose(0, 1)
    return visual.ln_post(x[:, 0]) @ visual.proj


@pytest.mark.parametrize("deep", [True, False])
def test_open_gates_are_the_papers_concatenation(deep):
    plain, visual = random_clip(layers=3).visual, random_clip(layers=3).visual
    prompts = VisualPrompts(visual, 4, deep, torch.Generator().manual_seed(0))
    assert prompts.tokens.shape == (2 if deep else 1, 4, 64)
    nn.init.normal_(prompts.tokens)
    images = torch.randn(3, 3, 32, 32)
    assert torch.allclose(visual(images), plain(images), atol=1e-6)
    nn.init.ones_(prompts.gates)
    expected = concatenated(plain, prompts.tokens, images)
    assert torch.allclose(visual(images), expected, atol=1e-5)
    assert not torch.allclose(expected, plain(images), atol=1e-2)


@pytest.mark.parametrize("deep", [True, False])
@pytest.mark.parametrize("regions", ["value", "last"])
def test_regions_keep_their_places(regions, deep):
    plain, tuned = random_clip(), random_clip()
    prompts = VisualPrompts(tuned.visual, 4, deep)
    nn.init.normal_(prompts.tokens)
    images = torch.randn(2, 3, 32, 32)
    expected, found = (DenseImageEncoder(clip, vit=regions)(images) for clip in (plain, tuned))
    assert torch.allclose(found.local_features, expected.local_features, atol=1e-6)
    nn.init.ones_(prompts.gates)
    found = DenseImageEncoder(tuned, vit=regions)(images)
    assert found.local_features.shape == expected.local_features.shape
    whole = concatenated(plain.visual, prompts.tokens, images)
    whole = whole / whole.norm(dim=-1, keepdim=True)
    assert torch.allclose(found.global_features, whole, atol=1e-5)


def test_gates_learn_first_and_prompts_once_they_are_open():
    visual = random_clip().visual
    prompts = VisualPrompts(visual, 4, True)
    images = torch.randn(2, 3, 32, 32)
    visual(images).square().sum().backward()
    assert bool(prompts.gates.grad.abs().min() > 0)
    assert not prompts.tokens.grad.any()
    nn.init.constant_(prompts.gates, 0.1)
    visual(images).square().sum().backward()
    assert bool((prompts.tokens.grad.abs().amax(dim=(1, 2)) > 0).all())
