from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression

from evaluation.fitted.calibration import (
    BINS,
    calibration_error,
    class_calibration_error,
    fit_calibration,
    reliability,
)


def make_scores(n=300, seed=0, scale=1.0, shift=0.0):
    """Scores that know something of four classes, with unknown targets."""
    generator = torch.Generator().manual_seed(seed)
    targets = (torch.rand(n, 4, generator=generator) < torch.tensor([0.5, 0.3, 0.2, 0.1])).int()
    scores = (targets + torch.randn(n, 4, generator=generator)) * scale + shift
    targets[torch.rand(n, 4, generator=generator) < 0.1] = -1
    return scores, targets


def by_library(scores, targets):
    known = targets != -1
    model = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000)
    model.fit(scores[known].double().reshape(-1, 1).numpy(), targets[known].numpy())
    return float(model.coef_[0, 0]), float(model.intercept_[0])


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (5, 25), (0.05, -3)])
def test_equals_logistic_regression_of_scikit_learn(scale, shift):
    scores, targets = make_scores(scale=scale, shift=shift)
    own = fit_calibration(scores, targets, per_class=True)
    for found, column, present in zip(own, scores.T, targets.T, strict=True):
        slope, offset = by_library(column, present)
        assert 1 / found.temperature == pytest.approx(slope, rel=1e-4)
        assert found.offset == pytest.approx(offset, rel=1e-4, abs=1e-4)
        assert found.positives == int((present == 1).sum())
    shared = fit_calibration(scores, targets, per_class=False)
    slope, offset = by_library(scores.flatten(), targets.flatten())
    assert {(c.temperature, c.offset) for c in shared} == {
        (shared[0].temperature, shared[0].offset)
    }
    assert 1 / shared[0].temperature == pytest.approx(slope, rel=1e-4)
    assert shared[0].offset == pytest.approx(offset, rel=1e-4, abs=1e-4)


def test_no_neighbour_has_a_greater_likelihood():
    scores, targets = make_scores(scale=3, shift=20)
    (found, *_) = fit_calibration(scores[:, :1], targets[:, :1], per_class=True)
    columns = scores[:, 0].tolist(), targets[:, 0].tolist()
    pairs = [(s, t) for s, t in zip(*columns, strict=True) if t != -1]

    def loss(slope, offset):
        return sum(math.log1p(math.exp((1 - 2 * t) * (slope * s + offset))) for s, t in pairs)

    slope, offset = 1 / found.temperature, found.offset
    best = loss(slope, offset)
    middle = sum(s for s, _ in pairs) / len(pairs)
    for turn in (-1e-3, 0, 1e-3):  # about the mean score, so that both matter
        for lift in (-1e-3, 0, 1e-3):
            assert loss(slope + turn, offset - turn * middle + lift) >= best - 1e-9


def test_classes_whose_own_would_mean_nothing_take_the_pair_of_all():
    scores, targets = make_scores()
    targets[:, 0] = 0
    targets[:9, 0] = 1  # fewer than ten
    scores[:, 1] = targets[:, 1] * 10  # separated
    scores[:, 2] = -scores[:, 2]  # the wrong way round
    found = fit_calibration(scores, targets, per_class=True)
    shared = fit_calibration(scores, targets, per_class=False)[0]
    for c, reason in enumerate(["9 positives, fewer than 10", "separates", "lower where"]):
        assert (found[c].temperature, found[c].offset) == (shared.temperature, shared.offset)
        assert reason in found[c].rule
    assert found[3].rule == "maximum likelihood"
    assert found[3].temperature != shared.temperature


def test_scores_that_cannot_be_calibrated_are_refused():
    scores, targets = make_scores()
    for bad, reason in (
        (-scores, "lower where a class is present"),
        (targets.float(), "separates all"),
        (torch.zeros_like(scores), "separates all"),
    ):
        with pytest.raises(ValueError, match=f"cannot be calibrated: .*{reason}"):
            fit_calibration(bad, targets, per_class=False)
    with pytest.raises(ValueError, match="0 positives, fewer than 1"):
        fit_calibration(scores, targets * 0, per_class=True)
    with pytest.raises(ValueError, match="softmax over one class"):
        fit_calibration(scores + torch.inf, targets, per_class=True)
    with pytest.raises(ValueError, match="at least 1 positive"):
        fit_calibration(scores, targets, per_class=True, fewest=0)


def naive_error(probabilities, targets):
    pairs = [(p, t) for p, t in zip(probabilities, targets, strict=True) if t != -1]
    total = 0.0
    for b in range(BINS):
        low, high = b / BINS, (b + 1) / BINS
        inside = [(p, t) for p, t in pairs if low < p <= high or (b == 0 and p == 0)]
        if inside:
            gap = sum(p for p, _ in inside) / len(inside) - sum(t for _, t in inside) / len(inside)
            total += len(inside) / len(pairs) * abs(gap)
    return total


@pytest.mark.parametrize("seed", range(5))
def test_errors_equal_naive_loops(seed):
    scores, targets = make_scores(seed=seed)
    probabilities = scores.double().sigmoid()
    probabilities[0] = torch.tensor([0.0, 1.0, 0.0, 1.0])
    columns = list(zip(probabilities.T.tolist(), targets.T.tolist(), strict=True))
    flat = probabilities.flatten().tolist(), targets.flatten().tolist()
    assert calibration_error(probabilities, targets) == pytest.approx(naive_error(*flat))
    mean = sum(naive_error(*column) for column in columns) / 4
    assert class_calibration_error(probabilities, targets) == pytest.approx(mean)


def test_classes_without_known_targets_are_left_out():
    probabilities = torch.tensor([[0.8, 0.3], [0.8, 0.3]])
    targets = torch.tensor([[1, -1], [0, -1]])
    assert class_calibration_error(probabilities, targets) == pytest.approx(0.3)
    assert reliability(probabilities, targets).count.sum() == 2


def test_calibrated_scores_are_right_on_average():
    scores, targets = make_scores(n=4000, scale=2, shift=6)
    found = fit_calibration(scores, targets, per_class=True)
    slopes = torch.tensor([1 / c.temperature for c in found])
    after = (scores * slopes + torch.tensor([c.offset for c in found])).sigmoid()
    assert calibration_error(scores.sigmoid(), targets) > 0.5
    assert calibration_error(after, targets) < 0.02
    known = targets != -1
    assert float((after - targets)[known].mean()) == pytest.approx(0, abs=1e-5)
