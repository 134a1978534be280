from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from modeling.prompts.logit_scale import LogitScale
from trainers.base.logs.learner_statistics import LearnerStatistics


def learner(scale):
    module = nn.Module()
    module.ctx = nn.Parameter(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
    module.ctx_neg = nn.Parameter(torch.ones(3, 2, 4))
    module.frozen = nn.Parameter(torch.full((9,), 100.0), requires_grad=False)
    module.affine = scale
    return module


def test_norms_of_contexts_weights_and_gradients():
    module = learner(LogitScale(100.0))
    found = LearnerStatistics(module, module.affine).read()
    assert found["ctx_norm"] == 3.0  # of tokens of 5 and 1
    assert found["ctx_neg_norm"] == pytest.approx(2.0)
    assert found["weight_norm"] == pytest.approx(math.sqrt(26 + 24))
    assert "grad_norm" not in found and "scale" not in found and "offset" not in found
    module.ctx.grad, module.ctx_neg.grad = torch.ones(2, 2), torch.zeros(3, 2, 4)
    assert LearnerStatistics(module, module.affine).read()["grad_norm"] == 2.0


def test_scale_and_offset_where_they_are_learnt():
    scale = LogitScale(20.0, learnable=True, offset="learnt")
    scale.set_offset(torch.tensor(0.25))
    with torch.no_grad():
        scale.log_gain.fill_(math.log(2))
    found = LearnerStatistics(learner(scale), scale).read()
    assert (found["scale"], found["offset"]) == pytest.approx((40.0, 0.25))
    fixed = LogitScale(20.0, offset="fixed")
    assert not {"scale", "offset"} & set(LearnerStatistics(learner(fixed), fixed).read())
