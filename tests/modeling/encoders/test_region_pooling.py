from __future__ import annotations

import math

import pytest
import torch

from modeling.encoders.region_pooling import region_pool, soft_minimum, winner_take_all

B, R, C = 3, 5, 4


def maps(dtype=torch.float64):
    return torch.randn(B, R, C, dtype=dtype), torch.randn(B, R, C, dtype=dtype)


def naive_pool(similarity, guide, scale, mask=None):
    """The same by loops, leaving masked regions out altogether."""
    pooled = torch.zeros(B, C, dtype=similarity.dtype)
    for b in range(B):
        kept = [r for r in range(R) if mask is None or mask[b, r]]
        for c in range(C):
            weights = [math.exp(scale * float(guide[b, r, c])) for r in kept]
            values = [w * similarity[b, r, c] for w, r in zip(weights, kept, strict=True)]
            pooled[b, c] = sum(values) / sum(weights)
    return pooled


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scale", [0.0, 1.0, 20.0])
def test_equals_loops(scale, masked):
    similarity, guide = maps()
    mask = torch.tensor([[1, 1, 0, 1, 0], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()
    mask = mask if masked else None
    expected = naive_pool(similarity, guide, scale, mask)
    torch.testing.assert_close(region_pool(similarity, guide, scale, mask), expected)


def test_scale_zero_is_the_mean():
    similarity, guide = maps()
    torch.testing.assert_close(region_pool(similarity, guide, 0.0), similarity.mean(dim=1))


def test_large_scale_takes_the_region_that_the_guide_likes_best():
    similarity, guide = maps()
    best = guide.argmax(dim=1, keepdim=True)  # [B, 1, C]
    expected = similarity.gather(1, best).squeeze(1)
    torch.testing.assert_close(region_pool(similarity, guide, 1e6), expected)
    torch.testing.assert_close(region_pool(guide, guide, 1e6), guide.amax(dim=1))


def test_masked_regions_can_hold_anything():
    similarity, guide = maps()
    mask = torch.ones(B, R, dtype=torch.bool)
    mask[:, 2:4] = False
    before = region_pool(similarity, guide, 20.0, mask)
    similarity[:, 2:4], guide[:, 2:4] = 1e6, 1e6
    assert torch.equal(region_pool(similarity, guide, 20.0, mask), before)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_low_precision_stays_finite_and_comes_back_in_fp32(dtype):
    similarity, guide = maps(dtype)
    mask = torch.zeros(B, R, dtype=torch.bool)
    mask[0, :2] = True
    pooled = region_pool(similarity, guide, 1e5, mask)  # 1e5 itself is not an fp16 number
    assert pooled.dtype is torch.float32 and torch.isfinite(pooled).all()
    torch.testing.assert_close(pooled[1:], similarity[1:].float().mean(dim=1))


def test_scale_can_be_learnt():
    similarity, guide = maps()
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: region_pool(similarity, guide, s), scale)


def test_winner_take_all_equals_loops():
    similarity, _ = maps()
    similarity = similarity / 10
    similarity[0, 0] = -similarity[0, 0].abs()  # a region that no class fits
    taken = winner_take_all(similarity)
    for b in range(B):
        for r in range(R):
            row = similarity[b, r]
            shares = [math.exp(200 * float(row.max()) * float(s)) for s in row]
            for c in range(C):
                expected = float(row[c]) * shares[c] / max(shares)
                assert float(taken[b, r, c]) == pytest.approx(expected, rel=1e-6)


def test_the_winner_of_a_region_keeps_everything_and_others_less():
    similarity = maps()[0].abs() / 10
    taken = winner_take_all(similarity)
    winner = torch.zeros_like(similarity).scatter(2, similarity.argmax(2, keepdim=True), 1).bool()
    torch.testing.assert_close(taken[winner], similarity[winner])
    assert (taken[~winner] < similarity[~winner]).all() and (taken > 0).all()
    assert winner_take_all(torch.full((1, 1, 2), 30.0).half()).isfinite().all()


SCORES = torch.tensor([[[3.0, -1.0], [1.0, 2.0], [2.0, 2.0]], [[0.5, 9.0], [0.5, 9.0], [0.5, 9.0]]])


@pytest.mark.parametrize("softness", [0.3, 1.0, 4.0])
def test_soft_minimum_number_by_number(softness):
    found = soft_minimum(SCORES.double(), softness)
    for b in range(2):
        for c in range(2):
            looks = [SCORES[b, k, c].item() for k in range(3)]
            mean = sum(math.exp(-look / softness) for look in looks) / 3
            assert found[b, c].item() == pytest.approx(-softness * math.log(mean), rel=1e-9)


def test_soft_minimum_goes_from_the_least_to_the_mean():
    torch.testing.assert_close(soft_minimum(SCORES, 1e-3), SCORES.amin(dim=1), atol=2e-3, rtol=0)
    torch.testing.assert_close(soft_minimum(SCORES, 1e3), SCORES.mean(dim=1), atol=2e-2, rtol=0)
    torch.testing.assert_close(soft_minimum(SCORES[:, :1], 4.0), SCORES[:, 0])  # one look
    far = soft_minimum(torch.tensor([[[-1e4], [1e4]]]), 1.0)
    assert far.item() == pytest.approx(-1e4 + math.log(2), rel=1e-5)
