"""CLIP's image encoder with local features: one per region."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from common.choices import check_choice
from modeling.encoders.features import Features

VIT_REGIONS = {
    "value": "patches skip the last block's attention: output projection of their own values",
    "last": "patches as the last block leaves them",
}


class DenseImageEncoder(nn.Module):
    """Images to a global feature and one for each region, in the space of CLIP's texts.

    A ResNet's regions are the cells of its last map. CLIP's attention pool averages values and
    projects the average; both steps are affine, so a single cell can take them too (DualCoOp, Sun
    et al., NeurIPS 2022, section 3.3; Zhou et al., ECCV 2022, https://arxiv.org/abs/2112.01071).
    A vision transformer's regions are its patches.

    Pictures may be of any size whose sides the stride divides, because position embeddings are
    resized to the grid. At CLIP's own size the global feature is CLIP's own.

    Args:
        clip_model: a frozen `clip.model.CLIP` of either tower.
        pos_embed: ResNet: add the attention pool's positions to the cells, as DualCoOp's release
            does. The global feature always has them.
        mean_token: ResNet: the mean over all cells comes first, as one more region, as there.
        vit: one of `VIT_REGIONS`.

    Attributes:
        stride: pixels between neighbouring regions, in each direction.

    Raises:
        ValueError: an unknown `vit`, or a ResNet's option for a vision transformer.
    """

    def __init__(
        self,
        clip_model: nn.Module,
        pos_embed: bool = False,
        mean_token: bool = False,
        vit: str = "value",
    ) -> None:
        super().__init__()
        check_choice("MODEL.DENSE.VIT", vit, VIT_REGIONS)
        self.visual = clip_model.visual
        self.is_resnet = hasattr(self.visual, "attnpool")
        if not self.is_resnet and (pos_embed or mean_token):
            raise ValueError(
                "MODEL.DENSE.POS_EMBED and MEAN_TOKEN are a ResNet's. A vision transformer has "
                "positions in its input and a class token; set both False."
            )
        self.pos_embed, self.mean_token, self.vit = pos_embed, mean_token, vit
        pool = self.visual.attnpool if self.is_resnet else self.visual
        self.grid = math.isqrt(len(pool.positional_embedding) - 1)
        self.stride = self.visual.input_resolution // self.grid

    def check_input_size(self, height: int, width: int) -> None:
        """Refuse pictures that the stride does not divide.

        Raises:
            ValueError: with the nearest sizes that fit.
        """
        smaller, larger = (
            tuple(self.stride * max(part, 1) for part in parts)
            for parts in (
                (height // self.stride, width // self.stride),
                (-(-height // self.stride), -(-width // self.stride)),
            )
        )
        if (height, width) != smaller:
            fits = f'INPUT.SIZE "{smaller}"'
            fits += f' or INPUT.SIZE "{larger}"' if larger != smaller else ""
            raise ValueError(
                f"This CLIP has a region every {self.stride} pixels, which must divide both sides "
                f"of INPUT.SIZE {(height, width)}. Add: {fits}"
            )

    def forward(self, images: Tensor) -> Features:
        """Encode images [B, 3, H, W].

        Returns:
            `Features` with global features [B, D] and local ones [B, R, D], R = H W / stride^2 and
            one more with the mean token; row by row from the top left.
        """
        images = images.to(self.visual.conv1.weight.dtype)
        whole, regions = self._resnet(images) if self.is_resnet else self._transformer(images)
        return Features(F.normalize(whole.float(), dim=-1), F.normalize(regions.float(), dim=-1))

    def _resnet(self, images: Tensor) -> tuple[Tensor, Tensor]:
        visual, pool = self.visual, self.visual.attnpool
        x = images
        for conv, norm in (
            (visual.conv1, visual.bn1),
            (visual.conv2, visual.bn2),
            (visual.conv3, visual.bn3),
        ):
            x = F.relu(norm(conv(x)))
        x = visual.avgpool(x)
        for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            x = layer(x)  # [B, W, h, w]
        grid = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)  # [B, R, W]
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)  # [B, 1 + R, W]
        placed = x + self._positions(pool.positional_embedding, grid).to(x.dtype)
        whole = _attention_pool(pool, placed)  # [B, D]
        cells = (placed if self.pos_embed else x)[:, 0 if self.mean_token else 1 :]
        return whole, pool.c_proj(pool.v_proj(cells))

    def _transformer(self, images: Tensor) -> tuple[Tensor, Tensor]:
        visual = self.visual
        x = visual.conv1(images)  # [B, W, h, w]
        grid = x.shape[-2:]
        x = x.flatten(2).transpose(1, 2)  # [B, R, W]
        # x.shape[0], not len(x), which would fix the batch size of a traced graph.
        first = visual.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([first, x], dim=1)  # [B, 1 + R, W]
        x = x + self._positions(visual.positional_embedding, grid).to(x.dtype)
        x = visual.ln_pre(x).transpose(0, 1)  # [1 + R, B, W], as CLIP's blocks want it
        *blocks, last = visual.transformer.resblocks
        for block in blocks:
            x = block(x)
        x = x + (_attend(last, x) if self.vit == "last" else _attend_by_class_token(last, x))
        x = x + last.mlp(last.ln_2(x))
        x = visual.ln_post(x.transpose(0, 1)) @ visual.proj  # [B, 1 + R, D]
        return x[:, 0], x[:, 1:]

    def _positions(self, embedding: Tensor, grid: tuple[int, int]) -> Tensor:
        """Positions [1 + R, W] for a grid, the first one's own kept and the others resized."""
        if tuple(grid) == (self.grid, self.grid):
            return embedding
        square = embedding[1:].float().unflatten(0, (self.grid, self.grid))  # [g, g, W]
        resized = F.interpolate(square.permute(2, 0, 1)[None], size=grid, mode="bicubic")
        return torch.cat([embedding[:1].float(), resized[0].flatten(1).t()])  # [1 + R, W]


def _attention_pool(pool: nn.Module, x: Tensor) -> Tensor:
    """CLIP's attention pool, for which the first token asks: [B, 1 + R, W] -> [B, D]."""
    q, k, v = (
        part.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)  # [B, heads, ., W / heads]
        for part in (pool.q_proj(x[:, :1]), pool.k_proj(x), pool.v_proj(x))
    )
    mixed = F.scaled_dot_product_attention(q, k, v)  # [B, heads, 1, W / heads]
    return pool.c_proj(mixed.flatten(1))


def _attend(block: nn.Module, x: Tensor) -> Tensor:
    """What a block's attention adds: [1 + R, B, W] -> [1 + R, B, W]."""
    normed = block.ln_1(x)
    return block.attn(normed, normed, normed, need_weights=False)[0]


def _attend_by_class_token(block: nn.Module, x: Tensor) -> Tensor:
    """Likewise, where only the class token looks around and every patch keeps its own value."""
    normed, attention = block.ln_1(x), block.attn
    first = attention(normed[:1], normed, normed, need_weights=False)[0]  # [1, B, W]
    weight, bias = attention.in_proj_weight.chunk(3)[2], attention.in_proj_bias.chunk(3)[2]
    own = attention.out_proj(F.linear(normed[1:], weight, bias))  # [R, B, W]
    return torch.cat([first, own])
