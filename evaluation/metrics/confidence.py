"""Spread of a metric over seeds, by Student's t."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

__all__ = ["confidence", "t_probability", "t_quantile"]

_LEVEL = 0.95


def confidence(values: Sequence[float]) -> float | None:
    """Half the width of the 95% confidence interval of the mean, by Student's t.

    Three seeds give 4.30 standard errors, not the 1.96 of a normal distribution whose deviation
    is known.

    Args:
        values: one for each seed.

    Returns:
        None for a single value.
    """
    if len(values) < 2:
        return None
    error = statistics.stdev(values) / math.sqrt(len(values))
    return t_quantile(len(values) - 1) * error


def t_quantile(freedom: int) -> float:
    """The t that a Student variable exceeds in absolute value with probability 0.05.

    Args:
        freedom: degrees of freedom, 1 or more.
    """
    low, high = 0.0, 20.0  # of one degree of freedom it is 12.7, of more it is less
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_probability(middle, freedom) < _LEVEL else (low, middle)
    return low


def t_probability(t: float, freedom: int) -> float:
    """P(|T| < t) of a Student variable.

    Abramowitz and Stegun, 26.7.3 (odd degrees of freedom) and 26.7.4 (even).

    Args:
        t: 0 or more.
        freedom: degrees of freedom, 1 or more.
    """
    root = math.hypot(t, math.sqrt(freedom))
    sine, cosine = t / root, math.sqrt(freedom) / root
    odd = freedom % 2
    term = cosine if odd else 1.0
    total = term if freedom > 1 else 0.0
    for k in range(2 + odd, freedom - 1, 2):
        term *= (k - 1) / k * cosine**2
        total += term
    total *= sine
    return 2 / math.pi * (math.atan2(sine, cosine) + total) if odd else total
