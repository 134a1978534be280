"""CoCoOp (Zhou et al., CVPR 2022, https://arxiv.org/abs/2203.05557) for several labels an image.

A small net, the Meta-Net, shifts the contexts by what it sees in the image, so every image has text
features of its own: B * C prompts pass the text tower in a step. As in CoOp, an image with several
labels needs another loss than the paper's softmax cross-entropy, here `TRAINER.LOSS.NAME`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor, nn
from yacs.config import CfgNode

from common.config.config_rules import Number, declare_rules
from modeling.encoders.features import Features
from modeling.prompts.meta_net import MetaNet, conditional_cosines
from modeling.prompts.prompt_model import PROMPT_OPTIONS, PromptModel
from trainers.base import PromptTrainer, method_node

_META_NET_SEED_OFFSET = 1 << 32  # added to the seed: other numbers than those of random contexts


class CoCoOpModel(PromptModel):
    """Context words that a small net adapts to each image."""

    defaults: ClassVar = {
        **PROMPT_OPTIONS,
        "N_CTX": 4,  # words and their number as in the paper
        "CTX_INIT": "a photo of a",
        "CHUNK": 8,  # images in a forward pass of the text tower; fewer take less memory
    }

    def build_learner(self) -> nn.Module:
        """Contexts, and the Meta-Net that is trained and saved with them."""
        learner = super().build_learner()
        generator = torch.Generator().manual_seed(self.seed + _META_NET_SEED_OFFSET)
        learner.meta_net = MetaNet(self.clip.feature_width, self.clip.token_width, generator)
        return learner

    def text_features(self) -> None:
        """None that would serve all images."""

    def cosines(self, features: Features, text: Any) -> Tensor:  # noqa: ANN401
        """Cosines [B, C] of B images and their own text features."""
        with self.clip.autocast():
            return conditional_cosines(
                self.learner,
                self.learner.meta_net,
                self.clip.text_encoder,
                features.global_features,
                self.options.CHUNK,
            )


declare_rules("TRAINER.COCOOP", {"CHUNK": Number(least=1)})


def extend_cfg(cfg: CfgNode) -> None:
    """Declare CoCoOp's keys."""
    cfg.TRAINER.COCOOP = method_node(CoCoOpModel)


@TRAINER_REGISTRY.register()
class CoCoOp(PromptTrainer):
    """CoCoOp: context words that a small net adapts to each image."""

    model_class = CoCoOpModel
