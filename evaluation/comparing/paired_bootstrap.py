"""Bootstrap over test images: the same resamples of the images for every ranking.

A resample draws N of N images with replacement, each image with all its labels. Two methods that
are scored on the same resamples can be subtracted resample by resample: what makes a resample easy
or hard is the same for both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from common.threads import threads
from evaluation.metrics.class_rankings import ClassRankings

__all__ = ["RESAMPLES", "draw_counts", "resampled_precisions"]

RESAMPLES = 10_000

_SEED = 0  # every comparison draws the same resamples, so that its figures can be repeated
_WEIGHTS = {"cpu": 1 << 20, "cuda": 1 << 26}  # held at once: what fits a core's cache, or a card
_SILENT = 5.0  # seconds without a progress bar


def resampled_precisions(
    rankings: Sequence[ClassRankings],
    num_images: int,
    resamples: int = RESAMPLES,
    device: torch.device | str = "cpu",
) -> list[Tensor]:
    """Average precision of each class in each resample, for each of some rankings.

    Args:
        rankings: of the same N images, on `device`.
        num_images: N.
        resamples: R.
        device: where the rankings lie.

    Returns:
        A tensor [R, C] for each ranking, float64 on the CPU; NaN where a class has no positive in
        a resample.
    """
    chunks: list[list[Tensor]] = [[] for _ in rankings]
    progress = tqdm(total=resamples, desc="resamples", delay=_SILENT, mininterval=1)
    # Beside other programs its many small steps took ten times as long on two threads as on one.
    with threads(1), progress:
        for counts in draw_counts(num_images, resamples, torch.device(device)):
            for ranking, done in zip(rankings, chunks, strict=True):
                done.append(ranking.average_precision(counts).cpu())
            progress.update(counts.shape[1])
    return [torch.cat(done) for done in chunks]


def draw_counts(
    num_images: int, resamples: int, device: torch.device, weights: int | None = None
) -> Iterator[Tensor]:
    """How often each image is in each resample, a few resamples at a time.

    The draws come from the CPU and do not depend on the device or on `weights`.

    Args:
        num_images: N.
        resamples: in all.
        device: of the counts.
        weights: numbers held at once; default: what the device does fastest.

    Yields:
        [N, r] float32; the r add up to `resamples`.
    """
    generator = np.random.default_rng(_SEED)
    step = max(1, (weights or _WEIGHTS.get(device.type, 1 << 20)) // num_images)
    for first in range(0, resamples, step):
        columns = np.arange(min(step, resamples - first))[:, None]  # [r, 1]
        drawn = generator.integers(num_images, size=(len(columns), num_images), dtype=np.int32)
        flat = (drawn * len(columns) + columns).ravel()
        counts = np.bincount(flat, minlength=num_images * len(columns)).astype(np.float32)
        yield torch.from_numpy(counts).view(num_images, -1).to(device)
