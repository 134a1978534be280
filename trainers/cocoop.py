"""CoCoOp (Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557) for several labels an image.

A small net, the Meta-Net, shifts the contexts by what it sees in the image, so every image has text
features of its own: B * C prompts pass the text tower in a step. As in CoOp, an image with several
labels needs another loss than the paper's softmax cross-entropy, here `TRAINER.LOSS.NAME`.
"""

from __future__ import annotations

from typing import Any

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config_rules import Number, declare_rules
from modeling.encoders.features import Views
from modeling.prompts.meta_net import MetaNet, conditional_cosines
from trainers.base import PromptTrainer, prompt_options

_OTHER_NUMBERS = 1 << 32  # added to the seed: other numbers than those of random contexts


def extend_cfg(cfg: CfgNode) -> None:
    """Declare CoCoOp's keys; words and their number as in the paper."""
    cfg.TRAINER.COCOOP = prompt_options(
        N_CTX=4,
        CTX_INIT="a photo of a",
        CHUNK=8,  # images in a forward pass of the text tower; fewer take less memory
    )


declare_rules("TRAINER.COCOOP", {"CHUNK": Number(least=1)})


@TRAINER_REGISTRY.register()
class CoCoOp(PromptTrainer):
    """CoCoOp: context words that a small net adapts to each image."""

    def build_learner(self) -> nn.Module:
        """Contexts, and the Meta-Net that is trained and saved with them."""
        learner = super().build_learner()
        token_width, feature_width = self.clip.text_projection.shape
        generator = torch.Generator().manual_seed(self.seed + _OTHER_NUMBERS)
        learner.meta_net = MetaNet(feature_width, token_width, generator)
        return learner

    def text_features(self) -> None:
        """None that would serve all images."""

    def cosines(self, views: Views, text_features: Any) -> Tensor:  # noqa: ANN401
        """Cosines [B, C] of B images and their own text features."""
        with self.precision.autocast():
            return conditional_cosines(
                self.prompt_learner,
                self.prompt_learner.meta_net,
                self.text_encoder,
                views.global_features,
                self.method_cfg.CHUNK,
            )
