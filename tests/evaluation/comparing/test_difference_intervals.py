from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats

from evaluation.comparing.difference_intervals import uncertainty
from evaluation.comparing.paired_bootstrap import resampled_precisions
from evaluation.metrics.average_precision import average_precision
from evaluation.metrics.class_rankings import ClassRankings


@pytest.fixture
def differences():
    """[S], and [S, R] with resamples that all seeds share in part."""
    rng = torch.Generator().manual_seed(0)
    values = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    of_images = torch.randn(4000, generator=rng, dtype=torch.float64)
    own = 0.3 * torch.randn(3, 4000, generator=rng, dtype=torch.float64)
    return values, values[:, None] + 0.5 * of_images + own


def test_seeds_are_students_t(differences):
    found = uncertainty(*differences)
    low, high = stats.t.interval(0.95, 2, 7 / 3, stats.sem([1, 2, 4]))
    assert (found.mean, found.deviation) == pytest.approx((7 / 3, np.std([1, 2, 4], ddof=1)))
    assert (found.seeds.low, found.seeds.high) == pytest.approx((low, high))


def test_images_are_quantiles_of_the_mean_over_seeds(differences):
    values, resampled = differences
    found = uncertainty(values, resampled)
    expected = np.percentile(resampled.numpy().mean(axis=0), [2.5, 97.5])
    assert [found.images.low, found.images.high] == pytest.approx(expected)
    alone = uncertainty(values[:1], resampled[:1])
    assert (alone.deviation, alone.seeds, alone.both) == (None, None, None)
    assert alone.widest is alone.images
    below = (resampled[0] <= 0).sum().item()
    assert alone.p == pytest.approx(2 * (below + 1) / 4001)


def test_both_is_the_two_level_bootstrap(differences):
    """Its variance by drawing seeds and images in a loop, and its degrees of freedom by hand."""
    values, resampled = differences
    found = uncertainty(values, resampled)
    rng, matrix = np.random.default_rng(0), resampled.numpy()
    drawn, of_images = [], matrix.mean(axis=0)
    for _ in range(40_000):
        r = rng.integers(matrix.shape[1])
        seeds = rng.integers(3, size=3)
        shift = matrix[seeds, r].mean() - of_images[r]
        drawn.append(of_images[r] + np.sqrt(3 / 2) * shift)
    variance = np.var(drawn)
    of_seeds = matrix.var(axis=0, ddof=1).mean() / 3
    freedom = int(2 * (variance / of_seeds) ** 2)
    expected = stats.t.ppf(0.975, freedom) * np.sqrt(variance)
    assert found.both.high - found.mean == pytest.approx(expected, rel=0.02)
    assert found.mean - found.both.low == pytest.approx(found.both.high - found.mean)
    error = (found.both.high - found.mean) / stats.t.ppf(0.975, freedom)
    assert found.p == pytest.approx(2 * stats.t.sf(found.mean / error, freedom))


def test_seeds_with_images_of_their_own_vary_by_both(differences):
    values, resampled = differences
    found = uncertainty(values, resampled, own_images=True)
    assert (found.both.low, found.both.high) == pytest.approx((found.seeds.low, found.seeds.high))
    assert found.p == pytest.approx(stats.ttest_1samp(values.numpy(), 0).pvalue)
    assert found.images == uncertainty(values, resampled).images


def test_equal_seeds_and_equal_methods():
    resampled = torch.randn(1, 500, generator=torch.Generator().manual_seed(0)).expand(3, 500)
    found = uncertainty(torch.ones(3), resampled)
    assert found.deviation == 0 and found.both.high > 1 > found.both.low
    same = uncertainty(torch.zeros(3), torch.zeros(3, 500))
    assert same.p == 1 and (same.both.low, same.both.high) == (0, 0)


def test_undefined_resamples_are_left_out(differences):
    values, resampled = differences
    resampled[1, 1000:] = torch.nan
    found = uncertainty(values, resampled)
    assert found == uncertainty(values, resampled[:, :1000]) and found.resamples == 1000
    assert uncertainty(values, torch.full((3, 10), torch.nan)) is None
    assert uncertainty(torch.tensor([1.0, torch.nan]), resampled[:2]) is None


# Simulated evaluations of two methods. The score of an image is strength x presence, a part that
# the methods share, and a part of their own; a training adds a draw of its own to the strength.
STRENGTHS, SHARED, OF_TRAINING, PREVALENCE = (2.0, 1.5), 0.7, 0.3, 0.2


def _simulated(images, seeds, spread, rng):
    """Differences [S] and resampled ones [S, R] of one set of test images."""
    targets = (torch.rand(images, 1, generator=rng) < PREVALENCE).long()
    shared = SHARED * torch.randn(images, 1, generator=rng)
    scores = [
        (strength + spread * torch.randn(1, generator=rng)) * targets
        + shared
        + torch.randn(images, 1, generator=rng)
        for strength in STRENGTHS
        for _ in range(seeds)
    ]
    own = torch.stack([average_precision(s, targets)[0] for s in scores])
    rankings = [ClassRankings(s, targets) for s in scores]
    resampled = torch.stack([r[:, 0] for r in resampled_precisions(rankings, images, 250)])
    return own[:seeds] - own[seeds:], resampled[:seeds] - resampled[seeds:]


def _true_difference(spread, rng):
    """In an endless set of images, averaged over endless trainings."""
    steps, weights = np.polynomial.hermite_e.hermegauss(9)
    targets = (torch.rand(200_000, 1, generator=rng) < PREVALENCE).long()
    means = []
    for strength in STRENGTHS:
        noise = np.sqrt(1 + SHARED**2) * torch.randn(200_000, 1, generator=rng)
        of_steps = [(strength + spread * step) * targets + noise for step in steps]
        columns = torch.cat(of_steps, dim=1)
        precisions = average_precision(columns, targets.expand_as(columns))
        means.append(float(precisions.numpy() @ weights / weights.sum()))
    return means[0] - means[1]


def _coverage(seeds, spread, evaluations=150):
    """Share of evaluations whose intervals hold the truth, by kind of interval."""
    rng = torch.Generator().manual_seed(1)
    truth = _true_difference(spread, rng)
    found = [uncertainty(*_simulated(250, seeds, spread, rng)) for _ in range(evaluations)]
    return {
        kind: sum(getattr(u, kind).low <= truth <= getattr(u, kind).high for u in found)
        / evaluations
        for kind in ("images", "both")
        if getattr(found[0], kind)
    }


def test_images_cover_the_true_difference_of_two_trainings():
    """0.95 +- 4 binomial deviations of 150 evaluations is 0.88 to 1."""
    assert 0.88 < _coverage(seeds=1, spread=0.0)["images"] < 1


def test_both_cover_the_true_difference_of_two_methods_and_images_alone_do_not():
    found = _coverage(seeds=3, spread=OF_TRAINING)
    assert found["images"] < 0.88 < found["both"]
