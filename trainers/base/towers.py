"""The frozen towers that a config asks for."""

from __future__ import annotations

import torch
from yacs.config import CfgNode

from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.prompts.prompt_model import PromptModel


def load_towers(
    cfg: CfgNode, model: type[PromptModel], options: CfgNode, device: torch.device
) -> FrozenClip:
    """Load CLIP for a method, with regions where the method looks at them.

    Args:
        cfg: MODEL.BACKBONE, MODEL.DENSE and INPUT.SIZE count.
        model: the method's model.
        options: the method's own node of the config.
        device: where to.

    Raises:
        ValueError: no such CLIP, or INPUT.SIZE does not fit it.
    """
    regions = None
    if model.looks_at_regions(options):
        dense = cfg.MODEL.DENSE
        regions = RegionOptions(dense.POS_EMBED, dense.MEAN_TOKEN, dense.VIT)
    clip = FrozenClip.load(cfg.MODEL.BACKBONE.NAME, options.PREC, device, regions)
    clip.image_encoder.check_input_size(*cfg.INPUT.SIZE)
    return clip
