"""Image towers of other libraries: features of whole images, and of their regions where they can.

CLIP's regions skip the last attention (`DenseImageEncoder`). Of a foreign tower this project knows
no more than that it makes patches, or a map, and pools them. So a region is what the tower's own
head makes of one patch, or one cell, as if the image held nothing else. A head that pools by
attention then passes on the patch's value; one that averages, or reads a token, its state.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

REGIONS = "MODEL.DENSE.VIT"


class ImageTower(nn.Module):
    """Images to features, without regions; those that have them derive from it.

    Args:
        tower: the library's module; images [B, 3, H, W] to features [B, D].
        input_resolution: side of the square images that it takes, in pixels.

    Attributes:
        regions: the values of MODEL.DENSE.VIT that regions can be read by, or empty.
    """

    regions: tuple[str, ...] = ()

    def __init__(self, tower: nn.Module, input_resolution: int) -> None:
        super().__init__()
        self.tower, self.input_resolution = tower, input_resolution

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, D] of images [B, 3, H, W]."""
        return self.tower(images)

    def with_regions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, D] of images [B, 3, H, W], and of their regions [B, R, D], row by row.

        Raises:
            NotImplementedError: the tower has none; `regions` says so beforehand.
        """
        raise NotImplementedError

    def check_regions(self, vit: str) -> None:
        """Refuse a way to read regions that the tower has not.

        Args:
            vit: MODEL.DENSE.VIT.

        Raises:
            ValueError: with what to do instead.
        """
        tower = f"This image tower ({type(getattr(self.tower, 'trunk', self.tower)).__name__})"
        if not self.regions:
            raise ValueError(
                f"{tower} has no regions in the space of the texts. Take a method of whole images "
                "(CoOp, LMPT, ZeroshotCLIP, LinearProbe), or another backbone."
            )
        if vit not in self.regions:
            own = self.regions[0]
            raise ValueError(f"{tower} has no regions of {REGIONS} {vit}. Add: {REGIONS} {own}")


class TimmTower(ImageTower):
    """A tower of timm's, as open_clip's `TimmModel` wraps it.

    Args:
        tower: the `TimmModel`.
        input_resolution: side of the images, in pixels.
    """

    def __init__(self, tower: nn.Module, input_resolution: int) -> None:
        super().__init__(tower, input_resolution)
        trunk = tower.trunk
        self.prefix = getattr(trunk, "num_prefix_tokens", 0)  # tokens before the patches
        pool = getattr(trunk, "attn_pool", None)
        is_map = getattr(trunk, "output_fmt", "NCHW") != "NHWC" and not hasattr(tower.head, "pool")
        if pool is not None:
            self.regions = ("value",) if getattr(pool, "pos_embed", None) is None else ()
        elif hasattr(trunk, "global_pool") and hasattr(trunk, "num_prefix_tokens"):
            self.regions = ("last",)
        elif is_map:
            self.regions = ("value", "last")  # as of a ResNet's map, where there is one way alone

    def with_regions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, D] of images [B, 3, H, W], and of their regions [B, R, D]."""
        states = self.tower.trunk.forward_features(images)
        if states.dim() == 4:  # a map [B, W, h, w]
            cells = states.flatten(2).transpose(1, 2)  # [B, R, W]
            alone = cells.flatten(0, 1)[:, :, None, None]
        else:
            cells = states[:, self.prefix :]  # [B, R, W]
            alone = cells.flatten(0, 1)[:, None].expand(-1, self.prefix + 1, -1)
        return self._head(states), self._head(alone).unflatten(0, cells.shape[:2])

    def _head(self, states: Tensor) -> Tensor:
        return self.tower.head(self.tower.trunk.forward_head(states))


class SiglipTower(ImageTower):
    """The image tower of Hugging Face's `SiglipModel`, which pools by attention.

    Args:
        tower: the `SiglipVisionModel`, or whatever of that name has its parts.
        input_resolution: side of the images, in pixels.
    """

    regions = ("value",)

    def forward(self, images: Tensor) -> Tensor:
        """Features [B, D] of images [B, 3, H, W]."""
        return self.tower(pixel_values=images).pooler_output

    def with_regions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Features [B, D] of images [B, 3, H, W], and of their regions [B, R, D]."""
        found = self.tower(pixel_values=images)
        states = found.last_hidden_state  # [B, R, D], behind the last norm
        regions = self.tower.head(states.flatten(0, 1)[:, None])
        return found.pooler_output, regions.unflatten(0, states.shape[:2])


def grid_of(tower: ImageTower, dtype: torch.dtype) -> int:
    """Regions on a side of the tower's square grid, of one black image.

    Raises:
        ValueError: they are no square.
    """
    side = tower.input_resolution
    device = next(tower.parameters()).device
    with torch.no_grad():
        images = torch.zeros(1, 3, side, side, dtype=dtype, device=device)
        count = tower.with_regions(images)[1].shape[1]
    if (grid := math.isqrt(count)) ** 2 != count:
        raise ValueError(f"This image tower has {count} regions, which are no square grid.")
    return grid


def input_dtype(visual: nn.Module) -> torch.dtype:
    """The precision in which an image tower takes images: that of its first convolution."""
    return next(m for m in visual.modules() if isinstance(m, nn.Conv2d)).weight.dtype
