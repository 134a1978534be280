"""How far apart float32 results may lie: as far as float32 itself is from the truth.

A fixed bound fits the processor that it was tried on. Another one adds in another order, and a
deep tower multiplies the difference. So results are judged by their distance from the truth, which
is the slow twin in float64: it may be a few times the slow twin's own distance in float32.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

_TIMES = 32.0  # few numbers may all be near the truth by luck; a wrong formula is off by far more
_LEAST = 4 * torch.finfo(torch.float32).eps  # taken for the twin's error where it is less, by luck


def in_double(module: nn.Module) -> nn.Module:
    """A copy of a module in float64, the norms of CLIP too, which insist on float32."""
    copied = copy.deepcopy(module).double()
    for part in copied.modules():
        if isinstance(part, nn.LayerNorm):
            part.__class__ = nn.LayerNorm
    return copied


def _error(found: Tensor, truth: Tensor) -> float:
    """The largest difference of any entry, in units of the truth's largest entry."""
    found, truth = found.detach().double(), truth.detach().double()
    return float((found - truth).abs().max() / truth.abs().max())


def assert_as_exact(found: Tensor, twin: Tensor, truth: Tensor, times: float = _TIMES) -> None:
    """A fast path is about as near to the truth as its slow twin in the same precision.

    Args:
        found: what the fast path gave.
        twin: what the slow twin gave, same shape.
        truth: what the slow twin gave in float64, same shape.
        times: how many times the twin's error the error may be.
    """
    assert found.shape == twin.shape == truth.shape
    limit = times * max(_error(twin, truth), _LEAST)
    assert _error(found, truth) <= limit, f"error {_error(found, truth):.3g} above {limit:.3g}"
