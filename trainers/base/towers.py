"""The frozen towers that a config asks for."""

from __future__ import annotations

import torch
from yacs.config import CfgNode

from modeling.clip.configs import normalisation_note
from modeling.clip.loader import weight_path
from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.prompts.prompt_model import PromptModel


def load_towers(
    cfg: CfgNode, model: type[PromptModel], options: CfgNode, device: torch.device
) -> FrozenClip:
    """Load CLIP for a method, with regions where the method looks at them.

    Args:
        cfg: MODEL.BACKBONE, MODEL.DENSE and INPUT count.
        model: the method's model.
        options: the method's own node of the config.
        device: where to.

    Raises:
        ValueError: no such CLIP, one that does not tell its activation, or INPUT.SIZE does not fit.
    """
    regions = None
    if model.looks_at_regions(options):
        dense = cfg.MODEL.DENSE
        regions = RegionOptions(dense.POS_EMBED, dense.MEAN_TOKEN, dense.VIT)
    backbone, inputs = cfg.MODEL.BACKBONE, cfg.INPUT
    clip = FrozenClip.load(backbone.NAME, options.PREC, device, regions, backbone.ACTIVATION)
    clip.image_encoder.check_input_size(*inputs.SIZE)
    if note := normalisation_note(weight_path(backbone.NAME), inputs.PIXEL_MEAN, inputs.PIXEL_STD):
        print(note)
    return clip
