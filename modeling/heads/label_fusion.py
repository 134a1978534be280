"""Label representations of two sources made one, and their exchange with regions (for PVLR).

Every module starts as if it were not there: what it adds goes through a layer of zeros. Training
then sets out from CLIP's own alignment of labels and regions instead of having to find it again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DIRECTIONS = {
    "both": "labels attend to regions and regions to labels",
    "labels": "labels attend to regions, which stay as they are",
    "regions": "regions attend to labels, which stay the same for every image",
    "off": "neither",
}


class LabelRelations(nn.Module):
    """Labels look at each other: one pre-norm layer of self-attention.

    Args:
        width: D.
        heads: of the attention; must divide D.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        check_heads(width, heads)
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        zero_(self.attention.out_proj)

    def forward(self, labels: Tensor) -> Tensor:
        """Labels [C, D] in the light of the others: [C, D]."""
        normed = self.norm(labels)[None]  # [1, C, D]
        return labels + self.attention(normed, normed, normed, need_weights=False)[0][0]


class ChannelInteraction(nn.Module):
    """Two representations of each label become one; the channels of each gate the other's (IFM).

    g = sigmoid(W2 gelu(W1 [K; A])) has a half for each of the two. K' = K * (1 + g_A) and
    A' = A * (1 + g_K); the result is norm((K + A) / 2 + W_f [K'; A']), which starts at the
    normalised mean because W_f starts at zero.

    Args:
        width: D.
        reduction: the gates' hidden layer has 2 D / reduction units.
    """

    def __init__(self, width: int, reduction: int = 4) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(2 * width, 2 * width // reduction),
            nn.GELU(),
            nn.Linear(2 * width // reduction, 2 * width),
            nn.Sigmoid(),
        )
        self.merge = nn.Linear(2 * width, width)
        zero_(self.merge)
        self.norm = nn.LayerNorm(width)

    def forward(self, known: Tensor, learnt: Tensor) -> Tensor:
        """Fuse K and A, both [C, D], into [C, D]."""
        of_known, of_learnt = self.gate(torch.cat([known, learnt], dim=-1)).chunk(2, dim=-1)
        gated = torch.cat([known * (1 + of_learnt), learnt * (1 + of_known)], dim=-1)  # [C, 2D]
        return self.norm((known + learnt) / 2 + self.merge(gated))


class DualModalAttention(nn.Module):
    """Labels and regions attend to each other through one affinity (DMA).

    S = (T W_q) (V W_k)^T / sqrt(D / heads). Labels take softmax over regions of S times V W_v,
    regions softmax over labels of S^T times T W_t; both through a residual, a norm and a
    feed-forward layer of four times the width.

    Args:
        width: D.
        heads: affinities side by side; must divide D.
        direction: one of `DIRECTIONS`, checked by the caller. A side that does not attend comes
            out as it went in.
    """

    def __init__(self, width: int, heads: int = 8, direction: str = "both") -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads = heads
        if direction != "off":
            self.queries, self.keys = nn.Linear(width, width), nn.Linear(width, width)
        if direction in ("both", "labels"):
            self.to_labels = _Update(width)
        if direction in ("both", "regions"):
            self.to_regions = _Update(width)
        self.updates_labels = hasattr(self, "to_labels")
        self.updates_regions = hasattr(self, "to_regions")

    def forward(
        self, labels: Tensor, regions: Tensor, mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Exchange.

        Args:
            labels: T [C, D].
            regions: V [B, R, D].
            mask: [B, R] False where a region takes no part.

        Returns:
            Labels, [B, C, D] where they attend to regions and else [C, D], and regions [B, R, D].
        """
        if not (self.updates_labels or self.updates_regions):
            return labels, regions
        keys = self._split(self.keys(regions))  # [B, heads, R, D / heads]
        affinity = self._split(self.queries(labels)) @ keys.transpose(-1, -2)  # [B, heads, C, R]
        affinity = affinity * keys.shape[-1] ** -0.5
        new_labels, new_regions = labels, regions
        if self.updates_labels:
            logits = affinity
            if mask is not None:
                lowest = torch.finfo(logits.dtype).min
                logits = logits.masked_fill(~mask[:, None, None], lowest)
            values = self._split(self.to_labels.values(regions))
            new_labels = self.to_labels(labels, self._join(logits.softmax(dim=-1) @ values))
        if self.updates_regions:
            values = self._split(self.to_regions.values(labels))  # [heads, C, D / heads]
            mixed = affinity.transpose(-1, -2).softmax(dim=-1) @ values  # [B, heads, R, D / heads]
            new_regions = self.to_regions(regions, self._join(mixed))
        return new_labels, new_regions

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-2, -3)  # [..., heads, ., D / heads]

    def _join(self, x: Tensor) -> Tensor:
        return x.transpose(-2, -3).flatten(-2)  # [..., ., D]


class _Update(nn.Module):
    """What attention brought, taken up: residual, norm, feed-forward layer, norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.values = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.last_norm = nn.LayerNorm(width)
        zero_(self.values)
        zero_(self.narrow)

    def forward(self, x: Tensor, brought: Tensor) -> Tensor:
        x = self.norm(x + brought)
        return self.last_norm(x + self.narrow(F.gelu(self.widen(x))))


def zero_(layer: nn.Linear) -> None:
    """Start a layer at zero, so that what it feeds starts unchanged."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError unless the heads divide the width."""
    if heads < 1 or width % heads:
        near = max(h for h in range(1, max(heads, 1) + 1) if width % h == 0)
        raise ValueError(f"HEADS must divide the features' width {width}, got {heads}; try {near}.")
