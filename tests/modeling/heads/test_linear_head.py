from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from modeling.heads.linear_head import STARTS, Classifier, LinearHead, start_weights
from tests.helpers.models.small_clip import RESOLUTION

TEXTS = F.normalize(torch.randn(3, 8, generator=torch.Generator().manual_seed(1)), dim=-1)


def weights(kind, seed=0):
    return start_weights(kind, TEXTS, 100.0, torch.Generator().manual_seed(seed))


def test_a_head_from_texts_is_zero_shot_clip():
    features = F.normalize(torch.randn(5, 8), dim=-1)
    logits = LinearHead(weights("text"))(features)
    assert torch.allclose(logits, 100 * features @ TEXTS.T, atol=1e-4)


def test_the_other_starts_are_zero_and_as_linear_layers_do():
    assert torch.equal(weights("zeros"), torch.zeros(3, 8))
    assert torch.equal(weights("random"), weights("random"))
    assert not torch.equal(weights("random"), weights("random", 1))
    assert 0.5 * 8**-0.5 < float(weights("random").abs().max()) <= 8**-0.5
    assert set(STARTS) == {"zeros", "random", "text"}


def test_a_centred_head_has_logits_of_mean_zero():
    head, features = LinearHead(weights("text")), F.normalize(torch.rand(50, 8), dim=-1)
    before = head(features)
    head.set_offset(before.mean())
    assert float(head(features).mean().detach()) == pytest.approx(0, abs=1e-4)
    assert torch.allclose(head(features).diff(dim=0), before.diff(dim=0), atol=1e-4)


def test_batch_statistics_stay_in_training(clip_model, tower):
    model = Classifier(LinearHead(torch.zeros(3, 32)), clip_model.visual)
    images = torch.randn(4, 3, RESOLUTION[tower], RESOLUTION[tower])
    before = {name: value.clone() for name, value in clip_model.visual.named_buffers()}
    model.train()
    assert model.training and model.head.training and model.visual.training
    training = model.visual(images)
    model.eval()
    assert torch.equal(model.visual(images), training)
    assert bool(before) == (tower == "RN")
    for name, value in clip_model.visual.named_buffers():
        assert torch.equal(value, before[name])


def test_the_tower_trains_only_where_it_is_given(vit):
    alone = Classifier(LinearHead(torch.zeros(3, 32)))
    assert list(alone.state_dict()) == ["head.weight", "head.bias"]
    assert not any(parameter.requires_grad for parameter in vit.parameters())
    both = Classifier(LinearHead(torch.zeros(3, 32)), vit.visual)
    assert all(parameter.requires_grad for parameter in both.parameters())
    assert "visual.conv1.weight" in both.state_dict()
    assert not vit.text_projection.requires_grad
