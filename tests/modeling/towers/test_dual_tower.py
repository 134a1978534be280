"""Two towers under the names that CLIP's have."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from modeling.clip.text_kind import TextKind
from modeling.towers.dual_tower import DualTower, TextParts
from modeling.towers.image_tower import ImageTower


def dual_tower(vit, projection, weights=torch.float32):
    parts = TextParts(
        vit.transformer,
        vit.token_embedding,
        vit.positional_embedding,
        vit.ln_final,
        projection,
        TextKind(causal=False),
    )
    image = ImageTower(nn.Conv2d(3, 4, 8), 32)
    return DualTower(image, parts, torch.zeros(1), torch.tensor([-2.0]), "mine", weights)


@pytest.mark.parametrize("form", ["linear", "biased", "matrix", "none"])
def test_a_projection_may_have_any_form(form, vit):
    features = torch.rand(5, 64)
    linear = nn.Linear(64, 8, bias=form == "biased")
    expected = features if form == "none" else linear(features)
    projection = {"matrix": linear.weight.t(), "none": None}.get(form, linear)
    model = dual_tower(vit, projection)
    found = features @ model.text_projection
    found = found if model.projection_bias is None else found + model.projection_bias
    torch.testing.assert_close(found, expected)


def test_it_is_frozen_and_its_scalars_are_scalars(vit):
    model = dual_tower(vit, None)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert model.logit_scale.shape == model.logit_bias.shape == () and not model.training


def test_half_precision_is_for_matrices_alone(vit):
    model = dual_tower(vit, None, torch.bfloat16)
    block = model.transformer.resblocks[0]
    half = (model.visual.tower.weight, model.text_projection, block.mlp.c_fc.weight)
    whole = (model.positional_embedding, block.ln_1.weight, model.token_embedding.weight)
    assert {tensor.dtype for tensor in half} == {torch.bfloat16}
    assert {tensor.dtype for tensor in whole} == {torch.float32}
