"""How many CPU threads a small model is worth."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

_SMALL_WIDTH = 256  # of a text tower; the smallest published CLIP has 512


def step_threads(clip_model: nn.Module, device: torch.device) -> int:
    """Threads for training steps on the text tower of a CLIP.

    The matrix products of a small tower take microseconds. Waking a second thread for each of them
    gains a third at best; where the machine is shared or virtual it has cost a factor of forty.
    """
    small = clip_model.transformer.width <= _SMALL_WIDTH
    return 1 if device.type == "cpu" and small else torch.get_num_threads()


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with `count` CPU threads, then with as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
