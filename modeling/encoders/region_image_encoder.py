"""Image encoder with local features, for image towers of other libraries."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from modeling.encoders.features import Features
from modeling.encoders.image_encoder import ImageEncoder
from modeling.towers.image_tower import grid_of, input_dtype


class RegionImageEncoder(ImageEncoder):
    """Images to a global feature and one for each region; see `modeling.towers.image_tower`.

    Args:
        clip_model: a frozen `DualTower`.
        pos_embed: MODEL.DENSE.POS_EMBED, which a CLIP's ResNet alone has.
        mean_token: MODEL.DENSE.MEAN_TOKEN, likewise.
        vit: MODEL.DENSE.VIT; each tower has one way, and the other one is refused.

    Attributes:
        stride: pixels between neighbouring regions, in each direction.

    Raises:
        ValueError: the tower has no such regions.
    """

    def __init__(self, clip_model: nn.Module, pos_embed: bool, mean_token: bool, vit: str) -> None:
        super().__init__(clip_model)
        if pos_embed or mean_token:
            raise ValueError(
                "MODEL.DENSE.POS_EMBED and MEAN_TOKEN are for the ResNets of CLIP; set both False."
            )
        self.visual.check_regions(vit)
        self.stride = self.visual.input_resolution // grid_of(self.visual, input_dtype(self.visual))

    def forward(self, images: Tensor) -> Features:
        """Encode images [B, 3, H, W] into features [B, D] and of regions [B, R, D]."""
        whole, regions = self.visual.with_regions(images.to(input_dtype(self.visual)))
        return Features(F.normalize(whole.float(), dim=-1), F.normalize(regions.float(), dim=-1))
