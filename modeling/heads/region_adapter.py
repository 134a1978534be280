"""A small network that moves region features, the same for all classes (for TARP)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RegionAdapter(nn.Module):
    """f' = normalise(f + W2 dropout(gelu(W1 f + b1)) + b2), which starts as f itself.

    After CLIP-Adapter (Gao et al., https://arxiv.org/abs/2110.04544), which does so to the feature
    of a whole image. What the rare classes need of it is learnt from all classes. Dropout is the
    same for all regions of an image, so that no region makes up for what another one has lost.

    Args:
        channels: D of the features.
        width: hidden units.
        dropout: share of them that training drops from an image, in [0, 1).
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
            features: [..., R, D], about of unit length; R regions of an image.
        """
        # Layers start for entries of size 1; those of a unit vector are of size 1 / sqrt(D).
        size = features.shape[-1] ** 0.5
        moved = self.narrow(self._dropped(F.gelu(self.widen(features * size)))) / size
        return F.normalize(features + moved, dim=-1)

    def similarity(self, features: Tensor, anchors: Tensor) -> Tensor:
        """`forward(features) @ anchors.t()`, without the moved features and their gradient.

        With f' = f + M h, h the hidden units and a 1 for b2: f' . a = f . a + h . (M^T a), and
        |f'|^2 = |f|^2 + h . (2 M^T f + M^T M h). So one product with frozen features has no
        gradient to them, and everything else is as narrow as h: two thirds of the time.

        Args:
            features: f [..., R, D]; frozen ones are what it is for.
            anchors: a [Q, D].

        Returns:
            [..., R, Q].
        """
        size, width = features.shape[-1] ** 0.5, len(self.widen.weight)
        moves = torch.cat([self.narrow.weight.t(), self.narrow.bias[None]]) / size  # M^T [W + 1, D]
        rows = torch.cat([anchors, self.widen.weight * size, moves])
        own, hidden, along = (features @ rows.t()).split([len(anchors), width, width + 1], dim=-1)
        hidden = self._dropped(F.gelu(hidden + self.widen.bias))
        hidden = F.pad(hidden, (0, 1), value=1.0)  # [..., R, W + 1]
        by_hidden = hidden @ (moves @ torch.cat([anchors, moves]).t())
        moved, square = by_hidden.split([len(anchors), width + 1], dim=-1)
        wide = torch.promote_types(hidden.dtype, torch.float32)
        squares = (features.to(wide).square(), (hidden * (2 * along + square)).to(wide))
        length = sum(part.sum(dim=-1, keepdim=True) for part in squares)  # |f'|^2
        return (own + moved) * length.clamp_min(1e-12).rsqrt()

    def square(self) -> Tensor:
        """Sum of the squares of W2, which says how far features move; a scalar."""
        return self.narrow.weight.square().sum()

    def _dropped(self, hidden: Tensor) -> Tensor:
        """Hidden units [..., R, W], less those that training drops."""
        if not self.training or self.dropout.p == 0:
            return hidden
        return hidden * self.dropout(torch.ones_like(hidden[..., :1, :]))  # [..., 1, W]
