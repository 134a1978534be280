from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from evaluation.metrics.average_precision import average_precision, rank_and_average
from tests.helpers.naive.naive_metrics import naive_average_precision

SCORES = {
    "distinct": lambda g, n, c: torch.randn(n, c, generator=g),
    "tied": lambda g, n, c: torch.randint(0, 4, (n, c), generator=g).float(),
    "constant": lambda g, n, c: torch.full((n, c), 7.0),
    "partly_infinite": lambda g, n, c: (
        torch.randn(n, c, generator=g)
        .round()
        .div(0.0)
        .nan_to_num(nan=0.0, posinf=math.inf, neginf=-math.inf)
    ),
    "clip_logits": lambda g, n, c: 25 + torch.randn(n, c, generator=g),
    "fp16": lambda g, n, c: (25 + torch.randn(n, c, generator=g)).half(),
    "bf16": lambda g, n, c: (25 + torch.randn(n, c, generator=g)).bfloat16(),
}


def random_targets(generator, n, c, unknown=0.0):
    # A rate per class from 0 (no positive at all) to 1 (nothing but positives).
    rate = torch.linspace(0, 1, c)
    targets = (torch.rand(n, c, generator=generator) < rate).float()
    targets[torch.rand(n, c, generator=generator) < unknown] = -1
    return targets


def sklearn_average_precision(scores, targets):
    out = []
    for s, t in zip(scores.double().numpy().T, targets.numpy().T, strict=True):
        s, t = s[t != -1], t[t != -1]
        s = np.nan_to_num(s, posinf=1e30, neginf=-1e30)  # scikit-learn wants finite scores
        out.append(average_precision_score(t, s) if (t == 1).any() else math.nan)
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("unknown", [0.0, 0.3])
@pytest.mark.parametrize("kind", SCORES)
def test_equals_scikit_learn_and_naive_loops(kind, unknown):
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        n = int(torch.randint(1, 60, (), generator=generator))
        scores = SCORES[kind](generator, n, 5)
        targets = random_targets(generator, n, 5, unknown)

        ap = average_precision(scores, targets)

        assert ap.dtype == torch.float64
        assert ap.shape == (5,)
        torch.testing.assert_close(
            ap, sklearn_average_precision(scores, targets), rtol=0, atol=1e-12, equal_nan=True
        )
        naive = [
            naive_average_precision(s, t)
            for s, t in zip(scores.double().T.tolist(), targets.T.tolist(), strict=True)
        ]
        torch.testing.assert_close(
            ap, torch.tensor(naive, dtype=torch.float64), rtol=0, atol=1e-12, equal_nan=True
        )


def test_hand_computed_example():
    scores = torch.tensor([[4.0], [3.0], [2.0], [2.0], [1.0]])
    targets = torch.tensor([[1], [0], [1], [0], [1]])
    # precision 1 at recall 1/3, 2/4 at 2/3 (the tied pair is one threshold), 3/5 at 1
    assert average_precision(scores, targets).item() == pytest.approx((1 + 2 / 4 + 3 / 5) / 3)


def test_image_order_is_irrelevant():
    generator = torch.Generator().manual_seed(0)
    scores = SCORES["tied"](generator, 50, 6)
    targets = random_targets(generator, 50, 6, unknown=0.2)
    expected = average_precision(scores, targets)
    for seed in range(10):
        order = torch.randperm(50, generator=torch.Generator().manual_seed(seed))
        shuffled = average_precision(scores[order], targets[order])
        torch.testing.assert_close(shuffled, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float16, torch.float64])
def test_target_dtypes(dtype):
    generator = torch.Generator().manual_seed(1)
    scores = torch.randn(40, 4, generator=generator)
    targets = random_targets(generator, 40, 4, unknown=0.2)
    torch.testing.assert_close(
        average_precision(scores, targets.to(dtype)),
        average_precision(scores, targets),
        equal_nan=True,
    )


def test_bool_targets():
    scores = torch.tensor([[3.0], [2.0], [1.0]])
    assert average_precision(scores, torch.tensor([[True], [False], [True]])).item() == (
        pytest.approx((1 + 2 / 3) / 2)
    )


def test_unknown_entries_count_as_removed():
    generator = torch.Generator().manual_seed(2)
    scores = SCORES["tied"](generator, 60, 1)
    targets = random_targets(generator, 60, 3, unknown=0.4)[:, 1:2]
    keep = targets[:, 0] != -1
    assert 0 < keep.sum() < 60
    torch.testing.assert_close(
        average_precision(scores, targets), average_precision(scores[keep], targets[keep])
    )


def test_unknown_best_score_does_not_divide_by_zero():
    ap = average_precision(torch.tensor([[9.0], [1.0]]), torch.tensor([[-1], [1]]))
    assert ap.item() == 1


def test_class_without_positives_is_nan_and_no_images_too():
    ap = average_precision(torch.randn(5, 3), torch.tensor([[0, -1, 1]] * 5))
    assert ap.isnan().tolist() == [True, True, False]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            average_precision(torch.empty(0, 4), torch.empty(0, 4)).isnan().tolist() == [True] * 4
        )
        assert average_precision(torch.empty(3, 0), torch.empty(3, 0)).shape == (0,)


def test_single_image():
    assert average_precision(torch.tensor([[0.3, 0.4]]), torch.tensor([[1, 1]])).tolist() == [1, 1]


def test_strided_inputs_are_left_alone():
    scores, targets = torch.randn(3, 30).T, (torch.rand(3, 30) < 0.5).T
    before = scores.clone()
    average_precision(scores, targets)
    assert torch.equal(scores, before)


def test_raw_clip_logits_need_no_sigmoid_and_suffer_from_one():
    """A fp32 sigmoid of CLIP's logits is 1 almost everywhere: whole classes become one tie."""
    generator = torch.Generator().manual_seed(3)
    targets = (torch.rand(500, 8, generator=generator) < 0.1).float()
    cosines = 0.25 + 0.01 * torch.randn(500, 8, generator=generator) + 0.02 * targets
    logits = 100 * cosines

    exact = average_precision(logits, targets)
    saturated = average_precision(logits.sigmoid(), targets)

    torch.testing.assert_close(exact, average_precision(cosines, targets), rtol=0, atol=1e-3)
    torch.testing.assert_close(exact, average_precision(logits.double().sigmoid(), targets))
    assert saturated.mean() < exact.mean() - 0.3


def test_ranking_never_waits_for_the_device():
    """Meta tensors hold no data: any .item(), .tolist() or branch on a value would raise."""
    scores = torch.empty(50, 7, device="meta", dtype=torch.float16)
    targets = torch.empty(50, 7, device="meta", dtype=torch.int8)
    assert rank_and_average(scores, targets).shape == (7,)
    assert rank_and_average(scores, targets).device.type == "meta"


def test_large_counts_are_exact():
    n = 200_000
    scores = torch.arange(n, dtype=torch.float32).unsqueeze(1)
    targets = torch.zeros(n, 1, dtype=torch.int8)
    targets[:2] = 1  # the two worst scores
    expected = (1 / (n - 1) + 2 / n) / 2
    assert average_precision(scores, targets).item() == pytest.approx(expected, rel=1e-12)


def test_nan_scores_name_the_class():
    scores = torch.zeros(4, 3)
    scores[2, 1] = math.nan
    with pytest.raises(ValueError, match=r"NaN in class 1;"):
        average_precision(scores, torch.ones(4, 3))
    scores[0, 2] = math.nan
    with pytest.raises(ValueError, match=r"class 1 \(bird\) and 1 more of 3"):
        average_precision(scores, torch.ones(4, 3), ["cow", "bird", "dog"])


@pytest.mark.parametrize("value", [2, 0.5, -2, math.nan])
def test_other_targets_name_the_class(value):
    targets = torch.ones(4, 3)
    targets[3, 2] = value
    with pytest.raises(ValueError, match=r"targets of 1 \(present\).*class 2"):
        average_precision(torch.zeros(4, 3), targets)


def test_shape_and_dtype_errors():
    with pytest.raises(ValueError, match=r"scores \[4, 3\] and targets \[4\]"):
        average_precision(torch.zeros(4, 3), torch.zeros(4))
    with pytest.raises(ValueError, match=r"one shape \[N, C\]"):
        average_precision(torch.zeros(4), torch.zeros(4))
    with pytest.raises(TypeError, match=r"floating-point scores, got torch.int64"):
        average_precision(torch.zeros(4, 3, dtype=torch.int64), torch.zeros(4, 3))
