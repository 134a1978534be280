"""The frozen towers that a config asks for."""

from __future__ import annotations

import torch
from torch import nn
from yacs.config import CfgNode

from common.shared import shared
from loading.cache.feature_key import clip_digest
from modeling.encoders.frozen_clip import FrozenClip, RegionOptions
from modeling.prompts.prompt_model import PromptModel
from modeling.towers.backbones import find_backbone
from modeling.towers.preprocessing import preprocessing_note
from trainers.base.tower_tuning import tuned_towers
from trainers.base.views import look_at_views


def load_towers(
    cfg: CfgNode,
    model: type[PromptModel],
    options: CfgNode,
    device: torch.device,
    image_learns: bool = False,
) -> tuple[FrozenClip, str]:
    """Load CLIP for a method, with regions where the method looks at them.

    Args:
        cfg: MODEL.BACKBONE, MODEL.DENSE, INPUT and TRAINER.TUNE count.
        model: the method's model.
        options: the method's own node of the config.
        device: where to.
        image_learns: whether any of the image tower learns. A CLIP of which anything learns is
            shared with no other run.

    Returns:
        The towers, and the SHA-256 of their weights.

    Raises:
        ValueError: no such CLIP, one that does not tell its activation, or INPUT.SIZE or the views
            do not fit.
    """
    regions = None
    if model.looks_at_regions(options):
        dense = cfg.MODEL.DENSE
        regions = RegionOptions(dense.POS_EMBED, dense.MEAN_TOKEN, dense.VIT)
    inputs, activation = cfg.INPUT, cfg.MODEL.BACKBONE.ACTIVATION
    backbone = find_backbone(cfg.MODEL.BACKBONE.NAME)

    def load() -> tuple[nn.Module, str]:
        clip_model = backbone.load(options.PREC, device, activation)
        return clip_model, clip_digest(clip_model)

    status = backbone.weights.stat()
    file = (backbone.name, backbone.weights.absolute(), status.st_size, status.st_mtime_ns)
    key = (*file, options.PREC, device, activation)
    learns = image_learns or tuned_towers(cfg)
    clip_model, digest = load() if learns else shared(key, load)
    clip = FrozenClip(clip_model, options.PREC, regions)
    clip.image_encoder.check_input_size(*inputs.SIZE)
    look_at_views(cfg, clip)
    if note := preprocessing_note(backbone, inputs):
        print(note)
    return clip, digest
