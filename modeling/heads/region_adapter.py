"""A small network that moves region features, the same for all classes (for TARP)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RegionAdapter(nn.Module):
    """f' = normalise(f + W2 dropout(gelu(W1 f + b1)) + b2), which starts as f itself.

    After CLIP-Adapter (Gao et al., https://arxiv.org/abs/2110.04544), which does so to the feature
    of a whole image. What the rare classes need of it is learnt from all classes.

    Args:
        channels: D of the features.
        width: hidden units.
        dropout: share of them that training drops, in [0, 1).
        seed: of where W1 and b1 start; W2 and b2 start at 0.
    """

    def __init__(self, channels: int, width: int, dropout: float, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.widen, self.narrow = nn.Linear(channels, width), nn.Linear(width, channels)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Moved features, of unit length.

        Args:
            features: [..., D], L2-normalised.
        """
        # Layers start for entries of size 1; those of a unit vector are of size 1 / sqrt(D).
        size = features.shape[-1] ** 0.5
        moved = self.narrow(self.dropout(F.gelu(self.widen(features * size)))) / size
        return F.normalize(features + moved, dim=-1)

    def square(self) -> Tensor:
        """Sum of the squares of W2, which says how far features move; a scalar."""
        return self.narrow.weight.square().sum()
