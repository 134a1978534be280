"""Encoder output for a batch: one global and optional local features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from common.ranks import gather_rows


@dataclass(frozen=True)
class Features:
    """Features of B images or captions; all L2-normalised, fp32.

    Attributes:
        global_features: [B, D].
        local_features: [B, R, D] one for each region or word, or None.
        mask: [B, R] True where a region counts, or None where all do. Captions have one, images
            have none.
    """

    global_features: Tensor
    local_features: Tensor | None = None
    mask: Tensor | None = None

    def __len__(self) -> int:
        return len(self.global_features)

    def __getitem__(self, rows: Tensor) -> Features:
        """Features of some rows [K]."""
        local, mask = self.local_features, self.mask
        return Features(
            self.global_features[rows],
            None if local is None else local[rows],
            None if mask is None else mask[rows],
        )


def join(parts: Sequence[Features]) -> Features:
    """Concatenate batches of features.

    Args:
        parts: all with local features or all without; likewise masks. Masked ones may differ in R:
            they are padded to the longest, and the mask leaves the padding out.
    """
    local, mask = None, None
    if parts[0].mask is not None:
        regions = max(part.mask.shape[1] for part in parts)
        more = [regions - part.mask.shape[1] for part in parts]
        pairs = list(zip(parts, more, strict=True))
        local = torch.cat([F.pad(part.local_features, (0, 0, 0, m)) for part, m in pairs])
        mask = torch.cat([F.pad(part.mask, (0, m)) for part, m in pairs])  # [B, R]
    elif parts[0].local_features is not None:
        local = torch.cat([part.local_features for part in parts])  # [B, R, D]
    return Features(torch.cat([part.global_features for part in parts]), local, mask)


def gather_features(own: Features, count: int) -> Features:
    """Features of a batch of `count` images, of those of each rank's `share` of it."""
    rows = (own.global_features, own.local_features, own.mask)
    return Features(*(None if part is None else gather_rows(part, count) for part in rows))
