from __future__ import annotations

import itertools

import pytest

from evaluation.comparing.holm import holm


def test_holms_steps_by_hand():
    # 0.01 x 4; 0.02 x 3; then 0.03 x 2 = 0.06, no more than it; 0.04 x 1 is less, so 0.06 stays
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


def test_rejections_are_those_of_the_closed_test():
    """Rejected are hypotheses of which every set that has them fails Bonferroni's test."""
    p_values = [0.001, 0.009, 0.013, 0.02, 0.3]
    found = [value < 0.05 for value in holm(p_values)]
    sets = [s for size in range(1, 6) for s in itertools.combinations(range(5), size)]
    fails = {s for s in sets if min(p_values[i] for i in s) < 0.05 / len(s)}
    assert found == [all(s in fails for s in sets if i in s) for i in range(5)]
    assert found == [True, True, True, True, False]
