"""Class vectors that a layer of attention meets with the regions of an image (for CPRFL)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class CategoryPrompts(nn.Module):
    """What CPRFL trains: prompts E made of texts, and the layer that lets them see an image.

    E = MLP(t) holds a vector for each class. [W_r f_1 ... W_r f_R; E] are the tokens of one layer;
    h_c is what comes out at the place of class c, and z_c = <h_c, E_c>. Gradients reach E on both
    ways. Nothing here belongs to a class of its own, so other texts make other classes.

    Args:
        texts: t [C, D], one text feature for each class.
        width: W of prompts and tokens.
        heads: of the attention.
        head_width: of each of them; heads times this need not be W.
        dropout: share of values that training drops, in [0, 1).
    """

    def __init__(
        self, texts: Tensor, width: int, heads: int, head_width: int, dropout: float
    ) -> None:
        super().__init__()
        channels = texts.shape[1]
        self.register_buffer("texts", texts, persistent=False)
        self.prompt = nn.Sequential(
            nn.Linear(channels, channels), nn.GELU(), nn.Linear(channels, width)
        )
        self.region = nn.Linear(channels, width)
        self.layer = InteractionLayer(width, heads, head_width, dropout)

    def prompts(self) -> Tensor:
        """E [C, W]."""
        return self.prompt(self.texts)

    def forward(self, prompts: Tensor, regions: Tensor, mask: Tensor | None = None) -> Tensor:
        """Scores of images.

        Args:
            prompts: E [C, W].
            regions: f [B, R, D].
            mask: [B, R] False where a region takes no part.

        Returns:
            z [B, C].
        """
        seen = self.layer(prompts, self.region(regions), mask)  # [B, C, W]
        return (seen * prompts).sum(dim=-1)


class InteractionLayer(nn.Module):
    """One transformer layer without residual connections: norm, attention, norm, feed-forward.

    It is read at the classes' places alone, so that regions need no queries and no feed-forward;
    what classes bring to it is computed once for all images.

    Args:
        width: W of the tokens; the feed-forward layer has as many units.
        heads: of the attention.
        head_width: of each of them.
        dropout: behind the attention, and behind both layers of the feed-forward part.
    """

    def __init__(self, width: int, heads: int, head_width: int, dropout: float) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads = heads
        self.norm, self.second_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.keys = nn.Linear(width, inner), nn.Linear(width, inner)
        self.values = nn.Linear(width, inner)
        self.mix = nn.Linear(inner, width)
        self.widen, self.narrow = nn.Linear(width, width), nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, classes: Tensor, regions: Tensor, mask: Tensor | None = None) -> Tensor:
        """What comes out at the classes' places.

        Args:
            classes: tokens [C, W], the same for every image.
            regions: tokens [B, R, W].
            mask: [B, R] False where a region takes no part.

        Returns:
            [B, C, W].
        """
        images, count = regions.shape[0], len(classes)
        own, seen = self.norm(classes)[None], self.norm(regions)  # [1, C, W], [B, R, W]
        queries = self._split(self.queries(own)).expand(images, -1, -1, -1)  # [B, heads, C, d]
        keys, values = (
            torch.cat([self._split(of(seen)), self._split(of(own)).expand_as(queries)], dim=2)
            for of in (self.keys, self.values)
        )  # [B, heads, R + C, d]
        visible = None
        if mask is not None:
            visible = F.pad(mask, (0, count), value=True)[:, None, None]  # [B, 1, 1, R + C]
        mixed = F.scaled_dot_product_attention(queries, keys, values, attn_mask=visible)
        x = self.second_norm(self.dropout(self.mix(mixed.transpose(1, 2).flatten(2))))
        return self.dropout(self.narrow(self.dropout(F.gelu(self.widen(x)))))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [., heads, tokens, d]
