from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modeling.tuning.lora import LowRank, add_lora, merge_lora
from tests.helpers.models.small_clip import RESOLUTION, TOWERS, random_clip
from tests.helpers.runs.tuned_towers import let_learn


def naive(x, weight, bias, change, part, parts):
    """A linear layer, and beside it the narrow one, on the rows of one of its parts."""
    rows = len(weight) // parts
    rows = slice(part * rows, (part + 1) * rows)
    wide = x @ weight[rows].T + bias[rows]
    return wide + (x @ change.down[part].T) @ change.up[part].T


@pytest.mark.parametrize("parts", [1, 3])
def test_a_change_is_a_narrow_layer_beside_the_wide_one(parts):
    torch.manual_seed(0)
    x, weight, bias = torch.randn(5, 8), torch.randn(6, 8), torch.randn(6)
    change = LowRank(weight, 2, parts)
    assert torch.equal(change(weight), weight)
    let_learn(change)
    expected = [naive(x, weight, bias, change, part, parts) for part in range(parts)]
    found = F.linear(x, change(weight), bias)
    assert torch.allclose(found, torch.cat(expected, dim=1), atol=1e-5)


@pytest.mark.parametrize("tower", TOWERS)
def test_merged_weights_give_the_same_features(tower):
    visual = random_clip(tower).visual
    names = set(visual.state_dict())
    images = torch.randn(3, 3, RESOLUTION[tower], RESOLUTION[tower])
    frozen = visual(images)
    let_learn(add_lora(visual, 3))
    expected = visual(images)
    assert not torch.allclose(expected, frozen, atol=1e-2)
    merge_lora(visual)
    assert torch.allclose(visual(images), expected, atol=1e-5)
    assert set(visual.state_dict()) == names


def test_starts_follow_the_generator():
    first, second = (
        add_lora(random_clip().visual, 2, torch.Generator().manual_seed(5)).state_dict()
        for _ in range(2)
    )
    for name, value in first.items():
        assert torch.equal(value, second[name])


def test_a_rank_above_the_width_is_refused():
    with pytest.raises(ValueError, match="RANK must be at most 64 for this tower, got 65"):
        add_lora(random_clip().visual, 65)
