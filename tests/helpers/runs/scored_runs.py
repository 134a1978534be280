"""Runs of methods of chosen strength, tested on the same images or on draws of them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from tests.helpers.runs import saved_runs

CLASSES = ("cat", "dog", "owl", "emu", "yak")  # head, medium, tail, head, medium
IMAGES = 80


def targets_of_all(draw: int = 0) -> Tensor:
    """[80, 5], the same for every run of a draw; of emu there is no image, of yak two."""
    rng = torch.Generator().manual_seed(draw)
    targets = (torch.rand(IMAGES, len(CLASSES), generator=rng) < 0.3).long()
    targets[:, 3:] = 0
    targets[[4, 9], 4] = 1
    return targets


def write_run(
    folder: Path,
    trainer: str,
    seed: int,
    strength: float,
    score: str = "logit",
    draw: int = 0,
    **changes: object,
) -> Tensor:
    """Write a run and return its logits; the stronger, the higher are those of what is present."""
    rng = torch.Generator().manual_seed(1000 * seed + sum(map(ord, trainer)))
    targets = targets_of_all(draw)
    logits = strength * targets + torch.randn(targets.shape, generator=rng)
    paths = [f"/{number}.jpg" for number in range(IMAGES)]
    saved_runs.write_run(folder, CLASSES, logits, targets, paths, trainer, seed, score, **changes)
    return logits
