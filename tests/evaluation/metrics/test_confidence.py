from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evaluation.metrics.confidence import confidence, t_probability, t_quantile


def test_quantiles_are_scipys():
    for freedom in (*range(1, 41), 100, 999):
        assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-9)


def test_probabilities_are_scipys():
    for freedom in (1, 2, 3, 10, 1000):
        for t in (0.0, 0.5, 2.0, 5.0):
            expected = stats.t.cdf(t, freedom) - stats.t.cdf(-t, freedom)
            assert t_probability(t, freedom) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("size", [2, 3, 5, 6])
def test_half_widths_are_scipys(size):
    values = np.random.default_rng(size).normal(50, 2, size).tolist()
    low, high = stats.t.interval(0.95, size - 1, np.mean(values), stats.sem(values))
    assert confidence(values) == pytest.approx((high - low) / 2)


def test_one_seed_tells_nothing_of_its_spread():
    assert confidence([50.0]) is None
    assert confidence([50.0, 50.0]) == 0
