"""Single-label accuracy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def compute_accuracy(
    output: Tensor | Sequence[Tensor], target: Tensor, topk: Sequence[int] = (1,)
) -> list[Tensor]:
    """Share of items whose class is among the k with the highest scores.

    Args:
        output: scores [B, C], or a sequence whose first element they are.
        target: class indices [B].
        topk: values of k.

    Returns:
        One tensor [1] per k, in percent.
    """
    scores = output[0] if isinstance(output, (tuple, list)) else output
    ranked = scores.topk(max(topk), dim=1).indices  # [B, max k]
    hits = ranked == target[:, None]
    return [100.0 * hits[:, :k].any(dim=1).float().mean().reshape(1) for k in topk]
