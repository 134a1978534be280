from __future__ import annotations

import pytest
import torch

from modeling.logit_affine import LogitAffine

COSINES = torch.tensor([[0.2, 0.3], [0.1, 0.25]])


def test_off_is_clips_scale_and_leaves_no_trace():
    affine = LogitAffine(100.0)
    assert torch.equal(affine(COSINES), 100 * COSINES)
    assert not affine.state_dict() and not list(affine.parameters())
    assert not affine.waits_for_mean


def test_a_number_replaces_the_scale():
    assert torch.allclose(LogitAffine(100.0, "20")(COSINES), 20 * COSINES)


@pytest.mark.parametrize(("offset", "trains"), [("fixed", False), ("learnt", True)])
def test_offset_starts_at_the_mean_cosine(offset, trains):
    affine = LogitAffine(100.0, offset=offset)
    affine.centre(COSINES.mean())
    assert abs(float(affine(COSINES).mean().detach())) < 1e-5
    assert affine.offset.requires_grad is trains
    again = LogitAffine(100.0, offset=offset)
    again.load_state_dict(affine.state_dict())
    assert torch.equal(again(COSINES), affine(COSINES))


def test_a_learnt_scale_starts_at_clips_and_trains():
    affine = LogitAffine(100.0, scale="learnt")
    assert torch.allclose(affine(COSINES), 100 * COSINES)
    affine(COSINES).sum().backward()
    assert affine.log_gain.grad == pytest.approx(float(100 * COSINES.sum()), rel=1e-5)


def test_a_learnt_scale_can_start_anywhere():
    affine = LogitAffine(100.0, scale="learnt:20")
    assert torch.allclose(affine(COSINES), 20 * COSINES)
    assert affine.log_gain.requires_grad


@pytest.mark.parametrize(
    "scale", ["-1", "0", "big", "learnt:", "learnt:-2", "learnt20", "nan", "inf"]
)
def test_wrong_scales_are_refused(scale):
    with pytest.raises(ValueError, match="LOGIT_SCALE must be clip, learnt or a number above 0"):
        LogitAffine(100.0, scale)
    with pytest.raises(ValueError, match="REGION_SCALE must be"):
        LogitAffine(100.0, scale, key="REGION_SCALE")


def test_wrong_offsets_are_refused():
    with pytest.raises(ValueError, match="LOGIT_BIAS must be one of off, fixed, learnt"):
        LogitAffine(100.0, offset="on")
