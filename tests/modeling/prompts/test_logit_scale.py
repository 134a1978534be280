from __future__ import annotations

import math

import pytest
import torch

from modeling.prompts.logit_scale import LogitScale

COSINES = torch.tensor([[0.2, 0.3], [0.1, 0.25]])


def test_a_fixed_scale_leaves_no_trace():
    affine = LogitScale(100.0)
    assert torch.equal(affine(COSINES), 100 * COSINES)
    assert not affine.state_dict() and not list(affine.parameters())
    assert not affine.has_offset


@pytest.mark.parametrize(("offset", "trains"), [("fixed", False), ("learnt", True)])
def test_offset_starts_at_the_mean_cosine(offset, trains):
    affine = LogitScale(100.0, offset=offset)
    affine.set_offset(COSINES.mean())
    assert abs(float(affine(COSINES).mean().detach())) < 1e-5
    assert affine.offset.requires_grad is trains
    again = LogitScale(100.0, offset=offset)
    again.load_state_dict(affine.state_dict())
    assert torch.equal(again(COSINES), affine(COSINES))


def test_a_learnt_scale_starts_at_the_given_one_and_trains():
    affine = LogitScale(100.0, learnable=True)
    assert torch.allclose(affine(COSINES), 100 * COSINES)
    affine(COSINES).sum().backward()
    assert affine.log_gain.grad == pytest.approx(float(100 * COSINES.sum()), rel=1e-5)


@pytest.mark.parametrize("scale", [-1.0, math.nan, math.inf])
def test_wrong_scales_are_refused(scale):
    for key in ("LOGIT_SCALE", "REGION_SCALE"):
        with pytest.raises(ValueError, match=f"{key} must be a finite number and 0 or more, got"):
            LogitScale(scale, key=key)


def test_a_scale_of_zero_means_zero_and_cannot_be_learnt():
    assert torch.equal(LogitScale(0.0)(COSINES), torch.zeros_like(COSINES))
    with pytest.raises(ValueError, match="K must be above 0 where K_LEARNABLE is True, got 0"):
        LogitScale(0.0, learnable=True, key="K")


def test_wrong_offsets_are_refused():
    with pytest.raises(ValueError, match="COSINE_OFFSET must be one of off, fixed, learnt"):
        LogitScale(100.0, offset="on")
