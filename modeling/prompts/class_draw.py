"""Some of the classes for one training step, drawn at random on the device."""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 0xFFFFFFFF  # 32 bits
_FACTOR = 0x45D9F3B  # odd, and below 2^31: products of 32-bit numbers with it fit int64


def draw_classes(sample_seed: Tensor, known: Tensor, count: int) -> Tensor:
    """Draw `count` of C classes without replacement, those with known labels before the others.

    The draw follows from the batch's own random numbers, so that a resumed run repeats it, and no
    value is read back from the device.

    Args:
        sample_seed: random numbers of this epoch [B], one for each image, below 2^31.
        known: of each class, whether the batch knows any of its labels, bool [C].
        count: K, in 1..C.

    Returns:
        Class ids, int64 [K], in random order.
    """
    classes = torch.arange(len(known), device=known.device)
    keys = _scrambled(_scrambled(sample_seed.sum() & _MASK) + classes)  # [C]
    return (keys + (~known) * (_MASK + 1)).topk(count, largest=False).indices


def _scrambled(numbers: Tensor) -> Tensor:
    """Spread numbers over 32 bits so that neighbours have nothing in common."""
    for _ in range(2):
        numbers = ((numbers ^ (numbers >> 16)) * _FACTOR) & _MASK
    return numbers ^ (numbers >> 16)
