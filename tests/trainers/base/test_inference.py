"""Logits of many batches without a trainer."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from modeling.encoders.features import Features
from modeling.encoders.frozen_clip import FrozenClip
from tests.helpers.models.small_clip import random_clip
from trainers.base.inference import Inference
from trainers.coop import CoOpModel


def counted(model):
    """The model, and how often its text features were computed."""
    calls, compute = [], model.text_features

    def text_features():
        calls.append(1)
        return compute()

    model.text_features = text_features
    return calls


@torch.no_grad()
def test_texts_are_encoded_once_until_they_are_forgotten():
    model = CoOpModel(["cat", "dog", "tv"], FrozenClip(random_clip("ViT")), N_CTX=2)
    calls, inference = counted(model), Inference(model)
    rows = [Features(torch.randn(size, 32)) for size in (4, 2)]
    before = [inference(features) for features in rows]
    assert len(calls) == 1
    for found, features in zip(before, rows, strict=True):
        assert_close(found, model.logits(features, model.text_features()))
    calls.clear()
    model.learner.ctx.data.normal_()
    assert torch.equal(inference(rows[0]), before[0]) and not calls
    inference.forget_texts()
    changed = inference(rows[0])
    assert len(calls) == 1
    assert_close(changed, model.logits(rows[0], model.text_features()))
    assert not torch.allclose(changed, before[0])
