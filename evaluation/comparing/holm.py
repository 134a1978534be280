"""Holm's correction of p-values, for many comparisons at once."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["holm"]


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values: those below 0.05 are significant at 5% for all comparisons together.

    The i-th smallest of m is multiplied by m - i + 1, and is no less than the one before it (Holm,
    "A simple sequentially rejective multiple test procedure", 1979). Nothing is assumed of how the
    comparisons depend on each other, as classes that share images do.

    Args:
        p_values: m of them, in any order.

    Returns:
        As many, in the same order, at most 1.
    """
    adjusted, least = [0.0] * len(p_values), 0.0
    ascending = sorted(range(len(p_values)), key=p_values.__getitem__)
    for rank, place in enumerate(ascending):
        least = max(least, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = least
    return adjusted
