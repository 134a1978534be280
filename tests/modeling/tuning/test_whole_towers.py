from __future__ import annotations

import pytest
import torch
from torch import nn

from modeling.tuning.towers import IMAGE, TEXT
from modeling.tuning.whole_towers import WholeTowers, whole_text_tower
from tests.helpers.models.small_clip import RESOLUTION, TOWERS, random_clip


@pytest.mark.parametrize("tower", TOWERS)
def test_both_towers_are_all_of_clip_but_its_scale(tower):
    clip_model = random_clip(tower).requires_grad_(False)
    towers = WholeTowers({IMAGE: clip_model.visual, TEXT: whole_text_tower(clip_model)})
    state = towers.state_dict()
    for name, parameter in clip_model.named_parameters():
        assert parameter.requires_grad is (name != "logit_scale")
        if name != "logit_scale":
            inside = name if name.startswith("visual.") else f"textual.{name}"
            assert state[inside].data_ptr() == parameter.data_ptr()
    assert len(list(towers.parameters())) == len(list(clip_model.parameters())) - 1


def test_a_bias_of_the_projection_learns_where_there_is_one():
    clip_model = random_clip("ViT")
    assert "projection_bias" not in whole_text_tower(clip_model).state_dict()
    clip_model.projection_bias = nn.Parameter(torch.zeros(32))
    assert "projection_bias" in whole_text_tower(clip_model).state_dict()


def test_batch_statistics_stay_in_training():
    clip_model = random_clip("RN")
    before = {name: value.clone() for name, value in clip_model.visual.named_buffers()}
    towers = WholeTowers({IMAGE: clip_model.visual}).train()
    side = RESOLUTION["RN"]
    clip_model.visual(torch.randn(4, 3, side, side))
    assert towers.visual.training and before
    for name, value in clip_model.visual.named_buffers():
        assert torch.equal(value, before[name])
