"""How sure a difference of two methods is: intervals over seeds, over test images, and over both.

With d_s the difference of seed s on the test images as they are, S seeds, and d_s(r) the same on
resample r of the images (`evaluation.comparing.paired_bootstrap`):

- *seeds*: mean of d_s with Student's t interval. Other trainings, tested on these images.
- *images*: the 2.5% and 97.5% quantiles over r of the mean over s of d_s(r). These trainings,
  tested on other images.
- *both*: mean of d_s ± t sqrt(v). v is the variance of a two-level bootstrap, which draws a
  resample of the images and, with replacement, S of the S seeds. As S draws of S values vary by
  (S - 1) / S too little, the seeds' part is corrected by S / (S - 1). Averaged over all draws of
  the seeds, v = Var_r(mean_s d_s(r)) + mean_r(s^2(r)) / S, with s^2(r) the sample variance over
  seeds. t is Student's, with Satterthwaite's degrees of freedom: (S - 1) (v / v_seeds)^2, rounded
  down, where v_seeds is v's second term.

Where each seed has test images of its own, d_s varies with these too: the seeds' interval is over
both.

A class without positives in a resample has no d_s(r) there; its figures are of the other resamples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from evaluation.metrics.confidence import confidence, t_probability, t_quantile

__all__ = ["Interval", "Uncertainty", "uncertainty"]

_TAILS = (0.025, 0.975)
_MAX_FREEDOM = 1000  # Student's t is normal to the third decimal


@dataclass(frozen=True)
class Interval:
    """A 95% interval, in the unit of its difference."""

    low: float
    high: float


@dataclass(frozen=True)
class Uncertainty:
    """A difference and how sure it is; see the module for the intervals.

    Attributes:
        mean: over seeds.
        deviation: sample standard deviation over seeds; None of a single seed, as are `seeds` and
            `both`.
        seeds: interval over seeds.
        images: interval over test images.
        both: interval over both.
        p: two-sided, of no difference: by what `both` stands on, or else `images`.
        resamples: in which the difference is defined.
    """

    mean: float
    deviation: float | None
    seeds: Interval | None
    images: Interval
    both: Interval | None
    p: float
    resamples: int

    @property
    def widest(self) -> Interval:
        """The interval over all that was varied."""
        return self.both or self.images


def uncertainty(
    differences: Tensor, resampled: Tensor, own_images: bool = False
) -> Uncertainty | None:
    """Intervals of one difference.

    Args:
        differences: [S], of each seed on the test images.
        resampled: [S, R], of each seed on each resample; NaN where it is undefined.
        own_images: whether each of several seeds has test images of its own.

    Returns:
        None if it is undefined on the test images, or in all but one of the resamples.
    """
    resampled = resampled[:, ~resampled.isnan().any(dim=0)].double()
    seeds, defined = resampled.shape
    if differences.isnan().any() or defined < 2:
        return None
    values = differences.double().tolist()
    mean = sum(values) / seeds
    of_images = resampled.mean(dim=0)  # [R]
    low, high = torch.quantile(of_images, of_images.new_tensor(_TAILS)).tolist()
    images = Interval(low, high)
    if seeds == 1:
        return Uncertainty(mean, None, None, images, None, _p_of_resamples(of_images), defined)
    half, deviation = confidence(values), differences.double().std().item()
    if own_images:
        total, freedom = deviation**2 / seeds, seeds - 1
    else:
        of_seeds = resampled.var(dim=0).mean().item() / seeds
        total = of_images.var().item() + of_seeds
        freedom = _freedom(seeds - 1, total, of_seeds)
    width = t_quantile(freedom) * math.sqrt(total)
    return Uncertainty(
        mean,
        deviation,
        Interval(mean - half, mean + half),
        images,
        Interval(mean - width, mean + width),
        1 - t_probability(abs(mean) / math.sqrt(total), freedom) if total else float(mean == 0),
        defined,
    )


def _freedom(of_seeds: int, total: float, seeds_part: float) -> int:
    """Satterthwaite's degrees of freedom of a sum whose other part is known well."""
    if seeds_part == 0:
        return _MAX_FREEDOM
    return min(_MAX_FREEDOM, int(of_seeds * (total / seeds_part) ** 2))


def _p_of_resamples(means: Tensor) -> float:
    """Twice the share of resamples [R] on zero's lesser side; never below 2 / (R + 1)."""
    beyond = min(int((means <= 0).sum()), int((means >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (len(means) + 1))
