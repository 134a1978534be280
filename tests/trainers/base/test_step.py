"""A training step without a trainer."""

from __future__ import annotations

import torch

from modeling.encoders.features import Features
from trainers.base.step import TrainingStep


def test_gradients_are_those_of_the_batch_alone():
    weight = torch.nn.Parameter(torch.ones(3))
    seen = []

    def terms(features, targets, index, sample_seed):
        seen.append((features, index, sample_seed))
        logits = features.global_features @ weight
        return {"loss": ((logits - targets) ** 2).mean(), "other": logits.detach().sum()}

    step = TrainingStep(terms, [weight], torch.amp.GradScaler("cpu", enabled=False))
    places = torch.arange(2), torch.tensor([5, 6])
    for scale in (1.0, 2.0):  # the second batch's gradient replaces the first one's
        rows = scale * torch.tensor([[1.0, 0, 2], [0, 1, 1]])
        found = step(Features(rows), torch.zeros(2), *places)
        expected = (2 * (rows @ weight.detach())[:, None] * rows).mean(dim=0)
        torch.testing.assert_close(weight.grad, expected)
        assert not found["loss"].requires_grad and set(found) == {"loss", "other"}
    features, index, sample_seed = seen[0]
    assert features.local_features is None and features.mask is None
    assert index is places[0] and sample_seed is places[1]
