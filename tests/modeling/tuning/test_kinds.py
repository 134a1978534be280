from __future__ import annotations

import pytest
import torch

from tests.helpers.models.small_clip import RESOLUTION, random_clip
from tests.helpers.runs.tuned_towers import FITTING, let_learn, tuned


@pytest.mark.parametrize(
    ("kind", "tower", "deep"), [*((*fit, True) for fit in FITTING), ("vpt", "ViT", False)]
)
def test_a_tuned_tower_starts_as_the_frozen_one(kind, tower, deep):
    visual = random_clip(tower).visual
    images = torch.randn(2, 3, RESOLUTION[tower], RESOLUTION[tower])
    frozen = visual(images)
    part = tuned(visual, kind, deep)
    assert torch.allclose(visual(images), frozen, atol=1e-6, rtol=0)
    let_learn(part)
    assert not torch.allclose(visual(images), frozen, atol=1e-3)


@pytest.mark.parametrize(("kind", "tower"), FITTING)
def test_gradients_reach_what_is_tuned_and_nothing_else(kind, tower):
    visual = random_clip(tower).visual
    part = tuned(visual, kind)
    let_learn(part)
    visual(torch.randn(2, 3, RESOLUTION[tower], RESOLUTION[tower])).square().sum().backward()
    ours = {id(parameter) for parameter in part.parameters()}
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None, name
    for name, parameter in visual.named_parameters():
        assert (parameter.grad is not None) is (id(parameter) in ours), name


def test_a_resnet_is_refused_prompts():
    with pytest.raises(ValueError, match="vpt is for vision transformers.*Use lora, bias, norm"):
        tuned(random_clip("RN").visual, "vpt")
