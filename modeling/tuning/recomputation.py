"""Gradient checkpointing of an image tower (Chen et al., 2016, https://arxiv.org/abs/1604.06174)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from modeling.tuning.towers import blocks_of


def recompute_blocks(visual: nn.Module) -> None:
    """Keep what enters each block for the backward pass, and compute the rest there once more.

    Features and gradients stay what they are. Blocks before the first one that learns keep nothing.

    Args:
        visual: an image tower of either kind, changed in place.
    """
    for block in blocks_of(visual).values():
        block.forward = partial(_recomputed, block, block.forward)


def _recomputed(block: nn.Module, forward: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    learns = x.requires_grad or any(parameter.requires_grad for parameter in block.parameters())
    if not (learns and torch.is_grad_enabled()):  # nothing is kept anyway
        return forward(x)
    return checkpoint(forward, x, use_reentrant=False, preserve_rng_state=False)
