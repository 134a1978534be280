"""CPRFL on CLIP's towers (Yan et al., https://arxiv.org/abs/2408.08125).

Prompts of the classes come out of their text features by an MLP, see an image's regions in one
layer of attention, and score by what they have seen (modeling/heads/category_prompts.py). The paper
has a ResNet-101 of ImageNet under it, which learns too; here it is CLIP's image tower, frozen
unless TRAINER.TUNE says otherwise. docs/methods.md lists what differs.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from common.config.config_rules import Number, declare_rules
from modeling.encoders.features import Features
from modeling.heads.category_prompts import CategoryPrompts
from modeling.prompts.class_prompts import check_template, class_sentences, ensemble_features
from modeling.prompts.prompt_model import PromptModel
from trainers.base import PromptTrainer, method_node


class CPRFLModel(PromptModel):
    """Class prompts that are refined by what they see in an image."""

    defaults: ClassVar = {
        "TEMPLATE": "a photo of a {}.",  # what the prompts are made of
        "WIDTH": 2048,  # of prompts and tokens
        "HEADS": 8,  # of the attention
        "HEAD_WIDTH": 512,  # of each of them
        "DROPOUT": 0.1,  # in the layer, in training
    }
    needs_regions = True

    def build_learner(self) -> CategoryPrompts:
        """All of it; the seed decides where it starts."""
        options = self.options
        sentences = class_sentences(self.classnames, options.TEMPLATE)
        texts = ensemble_features(sentences, self.clip.text_encoder)  # [C, D]
        # Entries of size 1, as layers start for: of unit length, biases would drown them out.
        texts = texts * texts.shape[1] ** 0.5
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return CategoryPrompts(
                texts, options.WIDTH, options.HEADS, options.HEAD_WIDTH, options.DROPOUT
            )

    def text_features(self) -> Tensor:
        """The prompts E [C, W], not normalised."""
        return self.learner.prompts().float()

    def cosines(self, features: Features, text: Tensor) -> Tensor:
        """Scores [B, C], which are no cosines: <h_c, E_c> as it is."""
        return self.learner(text, features.local_features, features.mask)

    logits = cosines


declare_rules(
    "TRAINER.CPRFL",
    {
        "WIDTH": Number(least=1),
        "HEADS": Number(least=1),
        "HEAD_WIDTH": Number(least=1),
        "DROPOUT": Number(least=0, below=1),
    },
)


def extend_cfg(cfg: CfgNode) -> None:
    """Declare CPRFL's keys."""
    cfg.TRAINER.CPRFL = method_node(CPRFLModel)


@TRAINER_REGISTRY.register()
class CPRFL(PromptTrainer):
    """CPRFL: class prompts made of text features, refined by the regions of an image."""

    model_class = CPRFLModel

    def check_cfg(self, cfg: CfgNode) -> None:
        """Refuse a template without a place for the class name."""
        super().check_cfg(cfg)
        check_template(self.method_cfg.TEMPLATE, "TRAINER.CPRFL.TEMPLATE")
