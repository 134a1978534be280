"""The frozen image tower."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from modeling.encoders.features import Features
from modeling.towers.image_tower import input_dtype


class ImageEncoder(nn.Module):
    """Images to global features, with the tower of a CLIP.

    Args:
        clip_model: a frozen `clip.model.CLIP` or `DualTower`.
    """

    def __init__(self, clip_model: nn.Module) -> None:
        super().__init__()
        self.visual = clip_model.visual

    def check_input_size(self, height: int, width: int) -> None:
        """Refuse pictures of another size than the tower was trained on.

        Raises:
            ValueError: with the size that fits.
        """
        side = self.visual.input_resolution
        if (height, width) != (side, side):
            raise ValueError(
                f"This CLIP takes pictures of {side} x {side} pixels, INPUT.SIZE is "
                f'{(height, width)}. Add: INPUT.SIZE "({side}, {side})"'
            )

    def forward(self, images: Tensor) -> Features:
        """Encode images [B, 3, H, W] into `Features` with global features [B, D]."""
        features = self.visual(images.to(input_dtype(self.visual)))  # [B, D]
        return Features(F.normalize(features.float(), dim=-1))
